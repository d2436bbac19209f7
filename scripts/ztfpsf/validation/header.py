"""What the header of an image claims, against what its pixels and stars say."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# ASSUME: magnitude of 1 ADU in an exposure of 1 s, at an airmass of 1 to 2 and in a clear sky:
# MAGZP of three images of 30 s in zr is 26.12 to 26.29. In zi it is some 0.6 mag less.
ZERO_POINT_1S_MAG = 22.5


def describe_header(fit: Mapping[str, Any], camera: Mapping[str, Any]) -> dict[str, float]:
    """Numbers that go wrong when the header lies; NaN without the card.

    `fit`, `camera`: the image's rows of the fit's table and of the stamps' IMAGES. infobits and
    ipac_status: those of IPAC. zero_point_excess_mag: MAGZP above that of a clear sky, by the
    exposure time. noise_disagreement: how much the measured noise of the sky is larger than by
    GAIN and READNOI, or smaller, in parts of it. limited_fraction: of the stars, outside the
    magnitude limits, as a wrong zero point puts them.
    """
    ratio = float(fit.get("noise_ratio", np.nan))
    exptime_s = float(camera["exptime_s"])
    expected = ZERO_POINT_1S_MAG + 2.5 * np.log10(exptime_s) if exptime_s > 0 else np.nan
    return {
        "infobits": float(camera["infobits"]),
        "ipac_status": float(camera["ipac_status"]),
        "zero_point_excess_mag": float(camera["magzp_mag"]) - float(expected),
        "limited_fraction": float(camera["limited_fraction"]),
        "noise_disagreement": max(ratio, 1.0 / ratio) - 1.0 if ratio > 0 else np.nan,
    }
