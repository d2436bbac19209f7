"""Oversampled PSF images as FITS."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits

from ztfpsf.interchange.psfex import half_of
from ztfpsf.io import write_fits
from ztfpsf.psf import Psf
from ztfpsf.psf.product.sampling import draw_oversampled


class OversampledPsf(NamedTuple):
    """PSFs of one image at some positions."""

    image: str
    oversampling: int
    x_px: np.ndarray  # (n,) position on the image, from 0
    y_px: np.ndarray
    data: np.ndarray  # (n, m, m): light in a whole pixel centred at each sample
    flux_adu: float  # of the stars that it is for; NaN where no flux changes the PSF


def make_oversampled(
    psf: Psf, positions_per_axis: int, oversampling: int, size_px: int
) -> OversampledPsf:
    """The PSF at the centres of `positions_per_axis`^2 equal parts of the image."""
    cells = (np.arange(positions_per_axis) + 0.5) / positions_per_axis
    x, y = (axis.ravel() for axis in np.meshgrid(cells * psf.nx - 0.5, cells * psf.ny - 0.5))
    data = draw_oversampled(psf, x, y, oversampling, half_of(size_px))
    return OversampledPsf(psf.image, oversampling, x, y, data, psf.typical_flux_adu)


def to_hdus(psf: OversampledPsf, version: int) -> list[fits.ImageHDU | fits.BinTableHDU]:
    """Cube PSF and table POSITIONS, one row for each plane."""
    cube = fits.ImageHDU(psf.data.astype(np.float32), name="PSF", ver=version)
    centre = psf.data.shape[-1] // 2 + 1
    for axis, name in enumerate(("X", "Y"), start=1):
        cube.header[f"CTYPE{axis}"] = (f"{name}_OFFSET", "from the star's centre")
        cube.header[f"CUNIT{axis}"] = "pixel"
        cube.header[f"CRPIX{axis}"] = float(centre)
        cube.header[f"CRVAL{axis}"] = 0.0
        cube.header[f"CDELT{axis}"] = 1 / psf.oversampling
    cube.header["IMAGE"] = (psf.image, "image of these PSFs")
    cube.header["OVERSAMP"] = (psf.oversampling, "samples per px and axis")
    if np.isfinite(psf.flux_adu):
        cube.header["PSFFLUX"] = (psf.flux_adu, "flux of the stars that it is for (ADU)")
    light = psf.data.sum(axis=(1, 2)) / psf.oversampling**2
    columns = {"x_px": psf.x_px, "y_px": psf.y_px, "light": light}
    table = [fits.Column(name, "D", array=values) for name, values in columns.items()]
    return [cube, fits.BinTableHDU.from_columns(table, name="POSITIONS", ver=version)]


def write_oversampled(
    psfs: Sequence[OversampledPsf], path: str | Path, provenance: dict[str, Any]
) -> None:
    """Write cube and table of each image, extension versions 1, 2, ... in their order.

    A star of flux 1 over the plane: a plane sums to `light` oversampling^2, where `light` is the
    part of the star within the plane.
    """
    hdus = [hdu for i, psf in enumerate(psfs, start=1) for hdu in to_hdus(psf, i)]
    write_fits(fits.HDUList([fits.PrimaryHDU(), *hdus]), path, provenance)
