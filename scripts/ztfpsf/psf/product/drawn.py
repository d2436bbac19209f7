"""Stars drawn with the PSF of their image beside their pixels. Nothing is fitted here."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from ztfpsf.errors import InputError
from ztfpsf.noise import model_variance
from ztfpsf.pocket.law import LocalPocket, deferred
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.product.file import load_psf
from ztfpsf.psf.product.psf import Psf
from ztfpsf.psf.profile.star import star_model
from ztfpsf.stamps import Stamps

BATCH = 64  # stars drawn at once
KEY = ["image", "star_id"]


class Drawn(NamedTuple):
    """n stars: rows of the table of the fit, their pixels, and their models."""

    stars: pd.DataFrame
    data: np.ndarray  # (n, S, S) ADU, NaN where masked; without what the pocket did to the model
    model: np.ndarray  # (n, S, S) ADU, background included
    variance: np.ndarray  # (n, S, S) ADU^2, of the model
    x0_px: np.ndarray  # (n,) column and row of the image at pixel [0, 0]
    y0_px: np.ndarray
    deferred: np.ndarray  # (n, S, S) ADU, what the pocket did

    @property
    def normalised_residual(self) -> np.ndarray:
        """(data - model) / sigma, (n, S, S), NaN where masked."""
        return (self.data - self.model) / np.sqrt(self.variance)


def draw(stamps: Stamps, stars: pd.DataFrame, path_to_psf: str | Path) -> Drawn:
    """Draw rows of a fit's star table at their position, flux and background with the file's PSF.

    Stars without finite parameters are left out. Raises InputError when a star has no stamp or
    its image no PSF.
    """
    stars = stars.reset_index(drop=True)
    parts = list(_draw_images(stamps, stars, path_to_psf))
    if not parts:
        size_px = stamps.data.shape[-1]
        blank = np.zeros((0, size_px, size_px))
        return Drawn(stars.iloc[:0], blank, blank, blank, np.zeros(0), np.zeros(0), blank)
    tables, *arrays = zip(*parts, strict=True)
    table = pd.concat(tables)
    order = np.argsort(table.index)  # that of `stars`, not image by image
    return Drawn(table.iloc[order], *(np.concatenate(array)[order] for array in arrays))


def _draw_images(stamps: Stamps, stars: pd.DataFrame, path_to_psf: str | Path) -> Iterator[Drawn]:
    parameters = ["x_px", "y_px", "flux_adu", "background_adu"]
    for image, rows in stars.groupby("image", sort=False):
        rows = rows[np.isfinite(rows[parameters]).all(axis=1)]
        if rows.empty:
            continue
        index = find_stamps(stamps, rows)
        mine = stamps.stars.iloc[index]
        psf = load_psf(path_to_psf, image)
        is_good, pixels = stamps.mask[index] == 0, stamps.data[index].astype(float)
        model, change = _draw_models(psf, rows, mine, np.where(is_good, np.nan, pixels))
        sky_adu = mine["sky_adu"].to_numpy()[:, None, None]
        variance = model_variance(model, sky_adu, psf.noise.gain, psf.noise.constant_adu2)
        data = np.where(is_good, pixels - change, np.nan)
        x0_px, y0_px = (mine[name].to_numpy() for name in ("x0_px", "y0_px"))
        yield Drawn(rows, data, model, variance, x0_px, y0_px, change)


def find_stamps(stamps: Stamps, rows: pd.DataFrame) -> np.ndarray:
    """Index of the stamp of each star. Raises InputError when there is none."""
    known = pd.MultiIndex.from_frame(stamps.stars[KEY])
    known = pd.Series(np.arange(len(known)), index=known)
    known = known[~known.index.duplicated()]
    index = known.reindex(pd.MultiIndex.from_frame(rows[KEY]))
    if index.isna().any():
        raise InputError(
            f"star {' '.join(index.index[index.isna()][0])} has no stamp: the fit belongs to other "
            "stamps; make it again with the rule fit_psf."
        )
    return index.to_numpy(int)


def _draw_models(
    psf: Psf, rows: pd.DataFrame, mine: pd.DataFrame, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Models of stars of one image on their stamps, and what the pocket did; (n, S, S) ADU.

    `pixels`: (n, S, S) ADU where they are seen, not modelled: a neighbour fills the pocket as well;
    else NaN.
    """
    x_px, y_px, flux_adu, background_adu = (
        rows[name].to_numpy(float) for name in ("x_px", "y_px", "flux_adu", "background_adu")
    )
    half = pixels.shape[-1] // 2
    offset_px = (x_px - mine["x0_px"].to_numpy() - half, y_px - mine["y0_px"].to_numpy() - half)
    stars = np.stack([*offset_px, flux_adu, background_adu], axis=1)
    params = psf.local_params(x_px, y_px, flux_adu)
    pockets = psf.pocket.at(x_px, y_px, psf.nx, psf.ny)
    n = len(stars)
    models, changes = np.empty_like(pixels), np.empty_like(pixels)
    with jax.enable_x64(True):
        for start in range(0, n, BATCH):
            # The last batch repeats the last star.
            take = np.minimum(np.arange(start, start + BATCH), n - 1)
            local = LocalPocket(*(of_all[take] for of_all in pockets))
            found = _draw_batch(psf.model, stars[take], params[take], local, pixels[take])
            for drawn, all_drawn in zip(found, (models, changes), strict=True):
                all_drawn[start : start + BATCH] = drawn[: n - start]
    return models, changes


@partial(jax.jit, static_argnames="model")
def _draw_batch(
    model: PsfModel, stars: Array, params: Array, pockets: LocalPocket, pixels: Array
) -> tuple[Array, Array]:
    """The same of BATCH stars: one size, compiled once for all that draws stars."""
    size_px = pixels.shape[-1]
    models = jax.vmap(lambda star, own: star_model(model, star, own, size_px))(stars, params)
    scenes = jnp.where(jnp.isnan(pixels), models, pixels)
    return models, jax.vmap(deferred)(pockets, scenes)
