"""What comes out of a fit."""
