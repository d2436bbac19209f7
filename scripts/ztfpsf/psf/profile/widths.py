"""Widths of a Gaussian, and of the Gaussian that a pixel amounts to."""

import numpy as np

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
PIXEL_VARIANCE_PX2 = 1.0 / 12.0
PIXEL_FWHM_PX = 0.68  # FWHM_PER_SIGMA sqrt(PIXEL_VARIANCE_PX2)
