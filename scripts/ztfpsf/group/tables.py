"""Maps and ratios of a group as tables, and back."""

import numpy as np
import pandas as pd

from ztfpsf.group.maps import GroupMaps, Map, Refraction
from ztfpsf.survey.ratios import Ratios, evaluate, scale

N_COEFFICIENTS = 6  # of a ratio, quadratic


def make_maps_table(images: pd.Series, found: GroupMaps) -> pd.DataFrame:
    """One row per exposure, with what all share in every row."""
    maps = found.maps
    return pd.DataFrame(
        {
            "image": images.to_numpy(),
            "ra_deg": found.centre[0],
            "dec_deg": found.centre[1],
            "scale_arcsec": found.scale_arcsec,
            "degree": [one.degree for one in maps],
            "coefficients": [one.coefficients.ravel() for one in maps],
            "covariance": [one.covariance.ravel() for one in maps],
            "rms_px": [one.rms_px for one in maps],
            "n_stars": [one.n_stars for one in maps],
            "status": [one.status for one in maps],
            "refraction_arcsec_mag": found.refraction.arcsec_per_mag,
            "refraction_error_arcsec_mag": found.refraction.error,
            "mean_colour_mag": found.refraction.mean_colour_mag,
        }
    )


def read_maps_table(table: pd.DataFrame) -> GroupMaps:
    """The maps of a table of make_maps_table, in its order."""
    first = table.iloc[0]
    maps = [
        Map(
            int(row.degree),
            np.array(row.coefficients, float).reshape(2, -1),
            np.array(row.covariance, float).reshape(2, len(row.coefficients) // 2, -1),
            float(row.rms_px),
            int(row.n_stars),
            str(row.status),
        )
        for row in table.itertuples(index=False)
    ]
    refraction = Refraction(
        float(first["refraction_arcsec_mag"]),
        float(first["refraction_error_arcsec_mag"]),
        float(first["mean_colour_mag"]),
    )
    centre = float(first["ra_deg"]), float(first["dec_deg"])
    return GroupMaps(maps, centre, float(first["scale_arcsec"]), refraction)


def make_ratios_table(exposures: pd.DataFrame, ratios: Ratios) -> pd.DataFrame:
    """One row per exposure: ratio and error at the middle of the image, coefficients, verdict."""
    n = len(exposures)
    value, error = ratios.at(np.arange(n), np.zeros(n), np.zeros(n))
    return pd.DataFrame(
        {
            "image": exposures["image"].to_numpy(),
            "nx": exposures["nx"].to_numpy(),
            "ny": exposures["ny"].to_numpy(),
            "ratio_mag": value,
            "ratio_error_mag": error,
            "coefficients": list(ratios.coefficients),
            "covariance": list(ratios.covariance.reshape(n, -1)),
            "n_stars": ratios.n_stars,
            "n_rejected": ratios.n_rejected,
            "chi2": ratios.chi2,
            "status": ratios.status,
        }
    )


def find_ratios(table: pd.DataFrame, position_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ratios and their errors (mag) at places (E, 2), of a table of make_ratios_table."""
    n, k = len(table), N_COEFFICIENTS
    coefficients = np.array([*table["coefficients"]], float).reshape(n, k)
    covariance = np.array([*table["covariance"]], float).reshape(n, k, k)
    shape = table["ny"].to_numpy(float), table["nx"].to_numpy(float)
    x_px, y_px = position_px.T
    u, v = scale(x_px, y_px, shape)
    return evaluate(coefficients, covariance, u, v)
