"""What PSF models are made of, and how a star is drawn with them."""
