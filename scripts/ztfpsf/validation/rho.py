"""Correlations of the PSF's errors over the field: rho statistics by TreeCorr.

With the ellipticity e = g1 + i g2 and the size T of the stars, and the residuals de and dT (star
minus model), rho1 = <de* de>, rho2 = <e* de>, rho3 = <(e dT/T)* (e dT/T)>, rho4 = <de* (e dT/T)>
and rho5 = <e* (e dT/T)>, each as a function of separation (Rowe 2010, MNRAS 404, 350; Jarvis et
al. 2016, MNRAS 460, 2245, equations 3.18 to 3.22).
"""

import numpy as np
import pandas as pd
import treecorr

N_BINS = 8
SMALLEST_SEPARATION_PX = 30.0  # about a stamp: closer pairs share pixels
PAIRS = {1: ("de", "de"), 2: ("e", "de"), 3: ("edt", "edt"), 4: ("de", "edt"), 5: ("e", "edt")}
COLUMNS = (
    "image",
    "separation_px",
    "n_pairs",
    *(f"rho{number}{suffix}" for number in PAIRS for suffix in ("", "_error")),
)


def make_empty_rho() -> pd.DataFrame:
    """The table without a row."""
    return pd.DataFrame(
        {name: pd.Series(dtype=str if name == "image" else float) for name in COLUMNS}
    )


def find_rho(stars: pd.DataFrame) -> pd.DataFrame:
    """Rho statistics of measured stars of one image.

    A row per bin of separation with pairs: separation_px, n_pairs, rho1 .. rho5 and their errors
    (shape noise).
    """
    x, y = stars["x_px"].to_numpy(), stars["y_px"].to_numpy()
    largest = float(np.hypot(np.ptp(x), np.ptp(y)))
    catalogues = {
        name: treecorr.Catalog(x=x, y=y, g1=e.real, g2=e.imag)
        for name, e in _ellipticities(stars).items()
    }
    table: dict[str, np.ndarray] = {}
    for number, (first, second) in PAIRS.items():
        correlation = treecorr.GGCorrelation(
            nbins=N_BINS, min_sep=SMALLEST_SEPARATION_PX, max_sep=largest
        )
        # Both catalogues, also where they are the same: every pair counts twice in all five.
        correlation.process(catalogues[first], catalogues[second], num_threads=1)
        if not table:
            table = {"separation_px": correlation.meanr, "n_pairs": correlation.npairs / 2}
        table[f"rho{number}"] = correlation.xip
        table[f"rho{number}_error"] = np.sqrt(correlation.varxip)
    rho = pd.DataFrame(table)
    return rho[rho["n_pairs"] > 0].reset_index(drop=True)


def _ellipticities(stars: pd.DataFrame) -> dict[str, np.ndarray]:
    """e, de and e dT/T of the stars, complex (n,)."""
    observed = (stars["g1"] + 1j * stars["g2"]).to_numpy()
    model = (stars["g1_model"] + 1j * stars["g2_model"]).to_numpy()
    size = stars["t_px2"].to_numpy()
    return {
        "e": observed,
        "de": observed - model,
        "edt": observed * (size - stars["t_model_px2"].to_numpy()) / size,
    }
