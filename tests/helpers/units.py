"""A stamps file of several images, good and failed ones."""

from pathlib import Path

import numpy as np
import pandas as pd
from problems import GAIN, READ_NOISE_ELECTRON, SKY_ADU, make_stamps, make_truth
from ztfpsf.stamps import IMAGE_COLUMNS, Stamps, describe_failure, write_stamps

IMAGES = [f"ztf_20200924431759_000655_zr_c13_o_q{q}" for q in (1, 2, 3)]


def make_unit(path: Path, model: str) -> Stamps:
    """Two good images of 30 stars, one with a single star, and one that failed before."""
    images, stars, cubes = [], [], []
    for number, (image, n) in enumerate(zip(IMAGES, (30, 30, 1), strict=True)):
        made = make_stamps(make_truth(model, n, 15, seed=number), seed=number, n_reserved=n // 5)
        row = dict.fromkeys(IMAGE_COLUMNS, 0.0) | {
            "image": image,
            "status": "ok",
            "gain": GAIN,
            "read_noise_electron": READ_NOISE_ELECTRON,
            "nx": made.nx,
            "ny": made.ny,
        }
        images.append(pd.DataFrame([row]))
        stars.append(
            pd.DataFrame(
                {
                    "image": image,
                    "star_id": [f"J{number}{i:03d}" for i in range(n)],
                    "ra_deg": np.arange(n, dtype=float),
                    "dec_deg": 20.0,
                    "mag": 16.0,
                    "x_px": made.x_px,
                    "y_px": made.y_px,
                    "x0_px": made.x0_px,
                    "y0_px": made.y0_px,
                    "sky_adu": SKY_ADU,
                    "sky_rms_adu": 5.0,
                    "sky_error_adu": np.nan,
                    "is_reserved": made.is_reserved,
                }
            )
        )
        cubes.append(made)
    images.append(describe_failure("ztf_20200924431759_000655_zr_c13_o_q4", "x.fits: truncated."))
    stamps = Stamps(
        pd.concat(images, ignore_index=True),
        pd.concat(stars, ignore_index=True),
        np.concatenate([c.data for c in cubes]).astype(np.float32),
        np.concatenate([c.variance for c in cubes]).astype(np.float32),
        np.concatenate([~c.good for c in cubes]).astype(np.uint8),
    )
    write_stamps(stamps, path, {"version": "0", "inputs": [], "settings": {}})
    return stamps
