"""PSF models, optimisers, fits and their products.

In reading order:

- `models`: what a PSF may look like, one file each; `profile`: what they are made of (pixels, field
  polynomial, residual grid) and how one star is drawn;
- `inputs`: stars of an image, settings, images stacked into a chunk;
- `problem`: objective, normal equations and their solution; `optimisers`: ways to the minimum, one
  file each;
- `weights`: start values, noise, clipped pixels, rejected stars, precision of the grid;
- `solution`: an image fitted and judged, by one PSF for the field or one for each star;
- `product`: the PSF as an object, a file, tables, drawn stars;
- `running`: chunks of images on the devices; `device` and `clock` are for all.
"""

from typing import TYPE_CHECKING, Any

from ztfpsf.psf.product.psf import Psf

if TYPE_CHECKING:
    from ztfpsf.psf.product.file import load_psf

__all__ = ["Psf", "load_psf"]


def __getattr__(name: str) -> Any:
    # Files need astropy; fits run where there is nothing but JAX and SciPy, as on many a GPU.
    if name == "load_psf":
        from ztfpsf.psf.product.file import load_psf

        return load_psf
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
