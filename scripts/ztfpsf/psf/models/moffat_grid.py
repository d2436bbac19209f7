"""Moffat profile with wings, plus a residual on a grid finer than the pixel.

    P(d) = profile(d) + residual(d),   integral over the plane 1

The profile is that of ztfpsf.psf.models._moffat_wing. What it misses in the core of a star (optics,
guiding, charge that is left behind in read-out) is common to the stars of an image, up to a slow
change over the field and with flux: the grid learns it from them
(ztfpsf.psf.profile.residual_grid). Beyond it are the wings.
"""

from dataclasses import replace

from ztfpsf.psf.models import _moffat_wing
from ztfpsf.psf.profile.residual_grid import ResidualGrid

MODEL = replace(_moffat_wing.MODEL, name="moffat_grid", grid=ResidualGrid())
