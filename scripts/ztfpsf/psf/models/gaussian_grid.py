"""Gaussian profile plus a residual on a grid finer than the pixel.

    P(d) = gaussian(d) + residual(d),   integral over the plane 1

As moffat_grid (see there), for stars without wings: light beyond the grid is none.
"""

from ztfpsf.psf.models import gaussian
from ztfpsf.psf.models.gaussian import Description, Shape, describe, profile, start

BASE = gaussian

__all__ = ["BASE", "Description", "Shape", "describe", "profile", "start"]
