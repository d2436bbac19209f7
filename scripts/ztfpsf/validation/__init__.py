"""Is the fitted PSF the PSF of the stars? Measured on stars that no fit has seen.

Nothing here fits a PSF. `stars` measures every star and its model alike, `image` sums up an image,
`verdict` judges it.
"""
