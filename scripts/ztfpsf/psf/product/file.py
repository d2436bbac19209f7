"""The file of the PSFs of a unit's images."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from ztfpsf.errors import InputError
from ztfpsf.fits_files import damage_named
from ztfpsf.io import make_again, open_product, write_fits
from ztfpsf.noise import Noise
from ztfpsf.pocket.flat import N_TERMS
from ztfpsf.pocket.law import N_DROPS, Pocket
from ztfpsf.psf.models import get_model
from ztfpsf.psf.product.psf import Psf, PsfGrid
from ztfpsf.psf.profile.flux import FluxRange
from ztfpsf.psf.profile.residual_grid import ResidualGrid

RULE = "fit_psf"
PICTURE_SIZE_PX = 51
NOISE_UNITS = {"gain": "electron/adu", "constant_adu2": "adu**2", "model_error": None}


# Numbers of the law of the pocket.
POCKET = {"drops": N_DROPS, "flat": N_TERMS}


def write_psfs(
    psfs: Sequence[Psf], model_name: str, path: str | Path, provenance: Mapping[str, Any]
) -> None:
    """Write the PSFs of a unit's images, which share the model.

    HDU PSF: a row per image (image, degree, nx, ny, coefficients (K B), covariance (K B)^2, in the
    order of the model's Params, each parameter with its Legendre terms up to the row's degree;
    the Noise of its pixels, the relative error of fluxes that its stars share, and the law of the
    pocket, its flat and its direction, ztfpsf.pocket.law).
    Models with a grid add grid_spacing and grid_radius (px), grid_degree, flux_low, flux_typical,
    flux_high (ADU), and grid and grid_error (G C), node by node (rows of y first) with its terms of
    position and then of flux.
    HDU CENTRE: the PSF at the centre of each image, for a look with an image viewer.
    """
    rows = [
        fits.Column("image", "37A", array=[psf.image for psf in psfs]),
        fits.Column("degree", "J", array=[psf.degree for psf in psfs]),
        fits.Column("nx", "J", array=[psf.nx for psf in psfs]),
        fits.Column("ny", "J", array=[psf.ny for psf in psfs]),
        fits.Column("coefficients", "PD()", array=_ragged([p.coefficients.ravel() for p in psfs])),
        fits.Column("covariance", "PD()", array=_ragged([p.covariance.ravel() for p in psfs])),
    ]
    rows += [
        fits.Column(name, "D", unit=unit, array=[getattr(psf.noise, name) for psf in psfs])
        for name, unit in NOISE_UNITS.items()
    ]
    rows.append(fits.Column("flux_error", "D", array=[psf.flux_error for psf in psfs]))
    for name, n in POCKET.items():
        part = np.array([getattr(psf.pocket, name) for psf in psfs]).reshape(len(psfs), n)
        rows.append(fits.Column(f"pocket_{name}", f"{n}D", array=part))
    rows.append(fits.Column("pocket_direction", "J", array=[p.pocket.direction for p in psfs]))
    grids = [psf.grid for psf in psfs if psf.grid is not None]
    geometries = [psf.model.grid for psf in psfs if psf.model.grid is not None]
    columns = _grid_columns(grids, geometries) if grids else []
    table = fits.BinTableHDU.from_columns(rows + columns, name="PSF")
    table.header["MODEL"] = (model_name, "PSF model")
    if grids:
        table.header["FLUXTERM"] = (" ".join(grids[0].flux_terms), "terms of flux")
    centre = np.zeros((len(psfs), PICTURE_SIZE_PX, PICTURE_SIZE_PX))
    for picture, psf in zip(centre, psfs, strict=True):
        picture[:] = psf.stamp(psf.nx // 2, psf.ny // 2, PICTURE_SIZE_PX)
    hdus = [fits.PrimaryHDU(), table, fits.ImageHDU(centre, name="CENTRE")]
    write_fits(fits.HDUList(hdus), path, provenance)


def _grid_columns(
    grids: Sequence[PsfGrid], geometries: Sequence[ResidualGrid]
) -> list[fits.Column]:
    fluxes = [
        fits.Column(
            f"flux_{name}", "D", unit="adu", array=[getattr(g.flux_range, name) for g in grids]
        )
        for name in FluxRange._fields
    ]
    lengths = [
        fits.Column("grid_spacing", "D", unit="pix", array=[g.spacing_px for g in geometries]),
        fits.Column("grid_radius", "D", unit="pix", array=[g.radius_px for g in geometries]),
    ]
    return [
        *lengths,
        fits.Column("grid_degree", "J", array=[g.degree for g in grids]),
        *fluxes,
        fits.Column("grid", "PD()", array=_ragged([g.nodes.ravel() for g in grids])),
        fits.Column("grid_error", "PD()", array=_ragged([g.error.ravel() for g in grids])),
    ]


def _ragged(arrays: list[np.ndarray]) -> np.ndarray:
    out = np.empty(len(arrays), dtype=object)
    out[:] = arrays
    return out


def load_psf(path: str | Path, image: str | None = None) -> Psf:
    """The PSF of an image from a file of the rule fit_psf.

    `image` may be left out when the file holds one. Raises InputError when the file is missing,
    damaged or of another format, or when the image is not in it.
    """
    table, header = _read_table(path)
    names = [str(name) for name in table["image"]]
    if image is None and len(names) == 1:
        image = names[0]
    if image not in names:
        raise InputError(
            f"{path}: choose the image, one of {', '.join(names) or 'none (all its fits failed)'}."
        )
    return _make_psf(table[names.index(image)], header)


def load_psfs(path: str | Path, images: Collection[str]) -> dict[str, Psf]:
    """The PSFs of those of some images that a file of the rule fit_psf holds, by image.

    Raises InputError when the file is missing, damaged or of another format.
    """
    table, header = _read_table(path)
    return {str(row["image"]): _make_psf(row, header) for row in table if row["image"] in images}


def _read_table(path: str | Path) -> tuple[Any, fits.Header]:
    with open_product(path, RULE, ["PRIMARY", "PSF"]) as hdus, damage_named(path, make_again(RULE)):
        return hdus["PSF"].data, hdus["PSF"].header


def _make_psf(row: Any, header: fits.Header) -> Psf:
    model, grid = get_model(header["MODEL"]), None
    if "FLUXTERM" in header:
        geometry = ResidualGrid(float(row["grid_spacing"]), float(row["grid_radius"]))
        model = replace(model, grid=geometry)
        grid = _read_grid(row, tuple(header["FLUXTERM"].split()), geometry)
    coefficients = np.array(row["coefficients"], float).reshape(model.n_params, -1)
    return Psf(
        str(row["image"]),
        model,
        coefficients,
        np.array(row["covariance"], float).reshape(coefficients.size, coefficients.size),
        int(row["degree"]),
        int(row["nx"]),
        int(row["ny"]),
        Noise(*(float(row[name]) for name in Noise._fields)),
        float(row["flux_error"]),
        grid,
        Pocket(*(np.array(row[f"pocket_{name}"], float) for name in Pocket._fields)),
    )


def _read_grid(row: Any, flux_terms: tuple[str, ...], geometry: ResidualGrid) -> PsfGrid:
    shape = (geometry.width**2, -1)
    return PsfGrid(
        np.array(row["grid"], float).reshape(shape),
        np.array(row["grid_error"], float).reshape(shape),
        int(row["grid_degree"]),
        flux_terms,
        FluxRange(*(float(row[f"flux_{name}"]) for name in FluxRange._fields)),
    )
