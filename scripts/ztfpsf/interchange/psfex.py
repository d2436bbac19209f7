"""A PSF as PSFEx writes it (Bertin 2011, ASP Conf. Ser. 442, 435): images times a field polynomial.

A file of PSFEx holds PSF images, one for each monomial of the position; GalSim's
`galsim.des.DES_PSFEx` and SExtractor read it. Of our PSFs the profile, not the image, is a
polynomial of the position: the images here are least-squares fits to ours all over the field, and
by how much they miss them is part of the result.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits

from ztfpsf.errors import InputError
from ztfpsf.io import write_fits
from ztfpsf.psf import Psf
from ztfpsf.psf.product.sampling import draw_oversampled

# Positions per axis beyond the fewest that define the polynomial.
SPARE_NODES = 3
WIDTH_OVERSAMPLING = 16  # samples per px and axis of the disc that is measured
DRAWN_PER_AXIS = 5  # positions where the drawn PSF is compared with ours


class Field(NamedTuple):
    """PSFEx's polynomial: monomials of (X_IMAGE - zero_x) / scale_x, and y likewise.

    X_IMAGE and Y_IMAGE count from 1; all others of our positions count from 0.
    """

    degree: int
    zero: tuple[float, float]
    scale: tuple[float, float]

    def terms(self, x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
        """x^i y^j, i + j <= degree, i running faster than j, at positions (n,); (n, terms)."""
        u, v = (
            (np.asarray(value, float) + 1 - zero) / scale
            for value, zero, scale in zip((x_px, y_px), self.zero, self.scale, strict=True)
        )
        powers = [(i, j) for j in range(self.degree + 1) for i in range(self.degree + 1 - j)]
        return np.stack([u**i * v**j for i, j in powers], axis=-1)

    def positions(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A square of positions (n^2,) in x and y, from nodes in -1..1 over the image."""
        u, v = (axis.ravel() for axis in np.meshgrid(nodes, nodes))
        return (
            self.zero[0] + self.scale[0] * u - 1,
            self.zero[1] + self.scale[1] * v - 1,
        )


class PsfexModel(NamedTuple):
    """What a file of PSFEx says of one image."""

    image: str
    planes: np.ndarray  # (terms, m, m): light in a whole pixel centred at each sample
    field: Field
    sampling_px: float
    fwhm_px: float  # at the centre of the image, of the disc with the area above half the peak
    light: float  # of a star of flux 1 within the samples, at the centre of the image
    flux_adu: float  # of the stars that it is for; NaN where no flux changes the PSF
    worst_residual: float  # largest error of the planes on the image, of the PSF's peak
    worst_drawn: float  # the same as GalSim draws them, between the samples


def make_psfex(psf: Psf, degree: int, oversampling: int, size_px: int) -> PsfexModel:
    """Images of `size_px` px (odd) and their polynomial of total degree `degree`."""
    half_px = half_of(size_px)
    field = Field(
        degree, ((psf.nx + 1) / 2, (psf.ny + 1) / 2), ((psf.nx - 1) / 2, (psf.ny - 1) / 2)
    )
    n = degree + 1 + SPARE_NODES
    # Chebyshev nodes: the middle of the field is not paid for with its edges.
    x, y = field.positions(np.cos(np.pi * (np.arange(n) + 0.5) / n))
    drawn = draw_oversampled(psf, x, y, oversampling, half_px)
    planes = np.tensordot(np.linalg.pinv(field.terms(x, y)), drawn, axes=1)
    x, y = field.positions(np.linspace(-1, 1, n))
    drawn = draw_oversampled(psf, x, y, oversampling, half_px)
    residual = np.abs(np.tensordot(field.terms(x, y), planes, axes=1) - drawn)
    light = planes[0].sum() / oversampling**2
    model = PsfexModel(
        psf.image,
        planes,
        field,
        1 / oversampling,
        full_width_px(psf, *field.positions(np.zeros(1))),
        float(light),
        psf.typical_flux_adu,
        float(np.max(residual.max(axis=(1, 2)) / drawn.max(axis=(1, 2)))),
        np.nan,
    )
    return model._replace(worst_drawn=compare_drawn(model, psf, size_px))


def full_width_px(psf: Psf, x_px: np.ndarray, y_px: np.ndarray) -> float:
    """Diameter of the disc with the area where the pixel-integrated PSF is above half its peak."""
    half_px = 4
    while True:
        image = draw_oversampled(psf, x_px, y_px, WIDTH_OVERSAMPLING, half_px)[0]
        is_above = image > image.max() / 2
        if not (is_above[0].any() or is_above[:, 0].any()):
            return float(np.sqrt(4 / np.pi * is_above.sum()) / WIDTH_OVERSAMPLING)
        half_px *= 2


def compare_drawn(model: PsfexModel, psf: Psf, size_px: int) -> float:
    """Largest error, of the peak, of stamps that GalSim's DES_PSFEx draws, all over the image.

    Readers interpolate by a Lanczos kernel, which no distance of the samples makes exact: the
    error stays at some tenths of a per cent of the peak.
    """
    import galsim.des

    reader = galsim.des.DES_PSFEx(to_hdu(model))
    x, y = model.field.positions(np.linspace(-0.9, 0.9, DRAWN_PER_AXIS))
    errors = []
    for x_px, y_px in zip(x, y, strict=True):
        ours = psf.stamp(x_px, y_px, size_px)
        position = galsim.PositionD(x_px + 1, y_px + 1)
        offset = [value - np.floor(value + 0.5) for value in (x_px, y_px)]
        drawn = reader.getPSF(position).drawImage(
            nx=size_px, ny=size_px, scale=1.0, offset=offset, method="no_pixel", dtype=float
        )
        light = reader.getPSFArray(position).sum(dtype=float) * model.sampling_px**2
        errors.append(np.abs(light * drawn.array - ours).max() / ours.max())
    return float(max(errors))


def half_of(size_px: int) -> int:
    """Half width of a square with a central pixel. Raises InputError for an even size."""
    if size_px < 3 or size_px % 2 == 0:
        raise InputError(f"export_psf: size_px is {size_px}; give an odd number of at least 3.")
    return size_px // 2


def to_hdu(model: PsfexModel) -> fits.BinTableHDU:
    """The table PSF_DATA of one image."""
    n_terms, ny, nx = model.planes.shape
    column = fits.Column(
        "PSF_MASK",
        f"{model.planes.size}E",
        dim=f"({nx}, {ny}, {n_terms})",
        array=model.planes[None].astype(np.float32),
    )
    hdu = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    header = hdu.header
    header["POLNAXIS"] = (2, "variables of the polynomial")
    for axis, name in enumerate(("X_IMAGE", "Y_IMAGE"), start=1):
        header[f"POLGRP{axis}"] = (1, "group of the variable")
        header[f"POLNAME{axis}"] = (name, "position on the image, px, from 1")
        header[f"POLZERO{axis}"] = (model.field.zero[axis - 1], "offset of the variable")
        header[f"POLSCAL{axis}"] = (model.field.scale[axis - 1], "scale of the variable")
    header["POLNGRP"] = (1, "groups of variables")
    header["POLDEG1"] = (model.field.degree, "degree of the polynomial")
    header["PSF_FWHM"] = (model.fwhm_px, "FWHM, the pixel included (px)")
    header["PSF_SAMP"] = (model.sampling_px, "distance of the samples (px)")
    header["PSFNAXIS"] = (3, "axes of PSF_MASK")
    for axis, length in enumerate((nx, ny, n_terms), start=1):
        header[f"PSFAXIS{axis}"] = length
    header["IMAGE"] = (model.image, "image of this PSF")
    header["PSFLIGHT"] = (model.light, "part of the light within PSF_MASK, centre")
    if np.isfinite(model.flux_adu):
        header["PSFFLUX"] = (model.flux_adu, "flux of the stars that it is for (ADU)")
    header["PSFRESID"] = (model.worst_residual, "largest error of the polynomial, of the peak")
    if np.isfinite(model.worst_drawn):
        header["PSFDRAWN"] = (model.worst_drawn, "the same, drawn by GalSim between samples")
    return hdu


def write_psfex(models: Sequence[PsfexModel], path: str | Path, provenance: dict[str, Any]) -> None:
    """Write a table for each image, in their order.

    PSF_MASK is normalised to a flux of 1 over the plane, as SExtractor takes it for FLUX_PSF:
    the samples sum to PSFLIGHT / PSF_SAMP^2. DES_PSFEx divides by that sum.
    """
    hdus = [fits.PrimaryHDU(), *(to_hdu(model) for model in models)]
    write_fits(fits.HDUList(hdus), path, provenance)
