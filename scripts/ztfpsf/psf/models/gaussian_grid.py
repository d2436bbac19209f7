"""Gaussian profile plus a residual on a grid finer than the pixel.

    P(d) = gaussian(d) + residual(d),   integral over the plane 1

As moffat_grid (see there), for stars without wings: light beyond the grid is none.
"""

from dataclasses import replace

from ztfpsf.psf.models import gaussian
from ztfpsf.psf.profile.residual_grid import ResidualGrid

MODEL = replace(gaussian.MODEL, name="gaussian_grid", grid=ResidualGrid())
