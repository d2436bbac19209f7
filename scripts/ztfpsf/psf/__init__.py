"""PSF models, optimisers, fits and their products."""

from ztfpsf.psf.product import Psf, load_psf

__all__ = ["Psf", "load_psf"]
