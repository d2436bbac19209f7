"""Terms by which the residual grid of a PSF depends on field position and flux."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ztfpsf.psf.profile.field import count_terms


class FluxRange(NamedTuple):
    """Fluxes that the flux terms of a grid are scaled to, ADU."""

    low: float
    typical: float
    high: float


# Change of the PSF with flux: charge that traps hold back is the same for all stars that fill them,
# and a part of the light of fainter ones; the brighter-fatter effect grows with flux.
FLUX_TERMS: dict[str, Callable[[np.ndarray, FluxRange], np.ndarray]] = {
    "deferred_charge": lambda flux, scale: scale.low / (scale.low + flux),
    "brighter_fatter": lambda flux, scale: flux / scale.high,
}


def measure_flux_range(flux_adu: np.ndarray) -> FluxRange:
    """Range of fluxes of the fitted stars, without the extremes."""
    return FluxRange(*(float(f) for f in np.percentile(np.maximum(flux_adu, 1.0), [5, 50, 95])))


def grid_basis(
    field: np.ndarray,
    flux_adu: np.ndarray,
    scale: FluxRange,
    degree: int,
    flux_terms: Sequence[str],
) -> np.ndarray:
    """Terms of the grid at stars, (n, C): field polynomial (n, B), then functions of flux.

    Those are 0 for a star of typical flux, whose size and ellipticity the profile has. Where noise
    makes a flux negative there is no light, and the PSF is that of a star of flux 0.
    """
    flux = np.maximum(flux_adu, 0.0)
    typical = np.asarray(scale.typical)
    functions = [FLUX_TERMS[name] for name in flux_terms]
    terms = [change(flux, scale) - change(typical, scale) for change in functions]
    return np.column_stack([field[:, : count_terms(degree)], *terms])
