"""Products of a fit made without a fit: stars whose PSF, position and flux are known."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from ztfpsf.io import make_provenance, write_table
from ztfpsf.noise import Noise, read_variance
from ztfpsf.psf import Psf
from ztfpsf.psf.models import get_model
from ztfpsf.psf.product.file import write_psfs
from ztfpsf.stamps import IMAGE_COLUMNS, STAR_COLUMNS, Stamps, write_stamps

IMAGES = ("ztf_20200924431759_000655_zr_c13_o_q3", "ztf_20200924431759_000655_zr_c13_o_q4")
SIZE, NX, NY = 15, 400, 300
FWHM_PX, ALPHA, SKY_ADU, GAIN, READ_NOISE = 2.4, 3.0, 150.0, 6.0, 9.0
N_RESERVED = 8
NOISE = Noise(GAIN, read_variance(READ_NOISE, GAIN))


class Products(NamedTuple):
    """Paths, and what is in the files."""

    stamps: Path
    stars: Path
    images: Path
    psf: Path
    star_table: pd.DataFrame
    cubes: Stamps
    model: np.ndarray  # (n, SIZE, SIZE) ADU

    def paths(self) -> dict[str, str]:
        names = ("stamps", "stars", "images", "psf")
        return {f"path_to_{name}": str(getattr(self, name)) for name in names}


def moffat_stamp(dx_px: float, dy_px: float, size_px: int = SIZE) -> np.ndarray:
    """Round Moffat of flux 1 by brute force, 21 x 21 samples per pixel."""
    gamma2 = (FWHM_PX / 2) ** 2 / (2 ** (1 / ALPHA) - 1)
    fine = (np.arange(21 * size_px) + 0.5) / 21 - size_px / 2
    r2 = (fine - dx_px) ** 2 + (fine - dy_px)[:, None] ** 2
    surface = (ALPHA - 1) / (np.pi * gamma2) * (1 + r2 / gamma2) ** -ALPHA
    return surface.reshape(size_px, 21, size_px, 21).mean(axis=(1, 3))


def make_psf(image: str) -> Psf:
    profile = np.array([[np.log(FWHM_PX)], [np.log(ALPHA - 1)], [0.0], [0.0]])
    return Psf(image, get_model("moffat"), profile, np.eye(4) * 1e-6, 0, NX, NY, NOISE, 0.0)


def make_stars(images: tuple[str, ...], n: int, rng: np.random.Generator) -> pd.DataFrame:
    """n stars of 14 to 18 mag for each image, the first N_RESERVED of them reserved."""
    mag = np.concatenate([np.linspace(14.05, 17.95, n) for _ in images])
    rank = np.concatenate([rng.permutation(n) for _ in images])
    count = len(mag)
    x0, y0 = (rng.integers(20, length - 20 - SIZE, count) for length in (NX, NY))
    return pd.DataFrame(
        {
            "image": np.repeat(images, n),
            "star_id": [f"J{i:06d}.00+300000.0" for i in range(count)],
            "ra_deg": 58.0,
            "dec_deg": 30.0,
            "mag": mag,
            "x0_px": x0,
            "y0_px": y0,
            "x_px": x0 + SIZE // 2 + rng.uniform(-0.5, 0.5, count),
            "y_px": y0 + SIZE // 2 + rng.uniform(-0.5, 0.5, count),
            "flux_adu": 10 ** (-0.4 * (mag - 25.9)),
            "background_adu": SKY_ADU,
            "sky_adu": SKY_ADU,
            "sky_rms_adu": 5.0,
            "sky_error_adu": np.nan,
            "is_reserved": rank < N_RESERVED,
            "is_fitted": rank >= N_RESERVED,
            "status": "ok",
        }
    )


def make_products(folder: Path, images: tuple[str, ...] = IMAGES[:1], n: int = 32) -> Products:
    """Files of cut_stamps and fit_psf; the residuals are noise."""
    rng = np.random.default_rng(7)
    stars = make_stars(images, n, rng)
    offsets = zip(
        stars["x_px"] - stars["x0_px"] - SIZE // 2,
        stars["y_px"] - stars["y0_px"] - SIZE // 2,
        strict=True,
    )
    psf = np.stack([moffat_stamp(dx, dy) for dx, dy in offsets])
    model = stars["flux_adu"].to_numpy()[:, None, None] * psf + SKY_ADU
    variance = np.maximum(model, SKY_ADU) / GAIN + (READ_NOISE / GAIN) ** 2
    data = model + rng.standard_normal(model.shape) * np.sqrt(variance)
    mask = np.zeros(model.shape, np.uint8)
    mask[:, 0, 0] = 1
    stars["flux_error_adu"] = 1 / np.sqrt((psf**2 / variance).sum(axis=(1, 2)))
    stars["background_error_adu"] = np.sqrt(variance[:, 0, 0] / SIZE**2)
    stars["chi2"] = ((data - model) ** 2 / variance).sum(axis=(1, 2))
    stars["dof"] = SIZE**2 - 4
    stars["core_chi2"] = ((data - model) ** 2 / variance)[:, 3:12, 3:12].mean(axis=(1, 2))
    blank = {str: "ok", float: 1.0, int: 0}
    rows = [
        {name: blank[kind] for name, kind in IMAGE_COLUMNS.items()}
        | {"image": image, "gain": GAIN, "read_noise_electron": READ_NOISE, "nx": NX, "ny": NY}
        | {"infobits": 0.0, "magzp_mag": np.nan, "limited_fraction": 0.0}
        for image in images
    ]
    cubes = Stamps(
        pd.DataFrame(rows),
        stars[list(STAR_COLUMNS)],
        data.astype(np.float32),
        variance.astype(np.float32),
        mask,
    )
    provenance = make_provenance(["x.fits"], {"strategy": "field"})
    paths = [
        folder / name for name in ("stamps.fits", "stars.parquet", "images.parquet", "psf.fits")
    ]
    write_stamps(cubes, paths[0], provenance)
    write_table(stars, paths[1], provenance)
    counts = {"n_stars": n, "n_rejected": 0, "clipped_fraction": 0.0}
    write_table(pd.DataFrame({"image": images, "status": "ok", **counts}), paths[2], provenance)
    write_psfs([make_psf(image) for image in images], "moffat", paths[3], provenance)
    return Products(*paths, stars, cubes, model)
