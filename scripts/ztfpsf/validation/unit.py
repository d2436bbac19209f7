"""The images of a unit: their stars measured, judged, and correlated over the field."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ztfpsf.psf.product.drawn import draw
from ztfpsf.quality import Bin
from ztfpsf.stamps import Stamps
from ztfpsf.validation.image import ValidationSettings, measurable, summarise
from ztfpsf.validation.rho import find_rho, make_empty_rho
from ztfpsf.validation.stars import measure_stars
from ztfpsf.validation.verdict import judge


def measure_unit(
    stamps: Stamps, fitted: pd.DataFrame, path_to_psf: str | Path, diameters_px: Sequence[float]
) -> pd.DataFrame:
    """The measured stars of all images, image by image: an exposure is 64 of them.

    `fitted`: usable rows of the fit's star table; `diameters_px`: of the apertures.
    """
    parts = [fitted[fitted["image"] == image] for image in fitted["image"].unique()]
    tables = [
        measure_stars(draw(stamps, part, path_to_psf), diameters_px) for part in parts or [fitted]
    ]
    return pd.concat(tables, ignore_index=True)


def judge_unit(
    stars: pd.DataFrame,
    fits: pd.DataFrame,
    cameras: pd.DataFrame,
    bins: Sequence[Bin],
    settings: ValidationSettings,
    limits: Mapping[str, Sequence[float]],
) -> pd.DataFrame:
    """One row per image: verdict, reason, and the numbers.

    `stars`: of measure_unit; `fits`, `cameras`: the fit's images table and the stamps' IMAGES.
    """
    cameras = cameras.set_index("image")
    rows = []
    for fit in fits.to_dict("records"):
        image = fit["image"]
        camera = cameras.loc[image].to_dict()
        row = summarise(stars[stars["image"] == image], fit, camera, bins, settings)
        rows.append({"image": image, **judge(row, limits)._asdict(), **row})
    return pd.DataFrame(rows)


def correlate_unit(stars: pd.DataFrame, settings: ValidationSettings) -> pd.DataFrame:
    """Rho statistics of the images that have enough reserved stars; no row of the others."""
    tables = [make_empty_rho()]
    for image, mine in measurable(stars[stars["is_reserved"]], settings).groupby("image"):
        if len(mine) >= settings.min_stars_rho:
            tables.append(find_rho(mine).assign(image=image))
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
