"""What the pages of the report say of each image."""

import pandas as pd

from ztfpsf.validation.verdict import VERDICTS

FAILED = "failed"
# Format of the columns that are shown, "" for text.
STATUS_FORMATS = {
    "image": "",
    "verdict": "",
    "why": "",
    "seeing_arcsec": "{:.2f}",
    "ellipticity": "{:.3f}",
    "depth_mag": "{:.2f}",
    "n_fitted": "{:.0f}",
    "chi2_per_dof": "{:.2f}",
    "misfit": "{:.3f}",
}
TIMING_FORMATS = {
    "model": "",
    "optimiser": "",
    "device": "",
    "images": "{:d}",
    "converged_fraction": "{:.0%}",
    "stars": "{:.0f}",
    "steps": "{:.0f}",
    "seconds_per_image": "{:.3g}",
    "seconds": "{:.4g}",
    "compile_seconds": "{:.3g}",
}


def name_verdicts(images: pd.DataFrame) -> pd.Series:
    """Verdicts, and "failed" where there is none."""
    return images["verdict"].replace("", FAILED)


def sort_images(images: pd.DataFrame) -> pd.DataFrame:
    """Rows of the page of images, the failed ones first, with the columns `verdict` and `why`."""
    verdict = name_verdicts(images)
    has_failed = images["failed_rule"] != ""
    why = images["reason"].where(~has_failed, images["failed_rule"] + ": " + images["status"])
    table = images.assign(verdict=verdict, why=why)
    order = verdict.map({name: k for k, name in enumerate((FAILED, *VERDICTS[::-1]))})
    return table.iloc[order.argsort(kind="stable")]


def describe_run(images: pd.DataFrame) -> str:
    """Night or nights, and how many images have which verdict."""
    nights = sorted(images["night"].unique())
    when = nights[0] if len(nights) == 1 else f"{nights[0]} to {nights[-1]}"
    counts = name_verdicts(images).value_counts()
    found = [f"{counts[name]} {name}" for name in (*VERDICTS, FAILED) if name in counts]
    n = len(images)
    return f"{when}: {n} image{'s' if n != 1 else ''}, {', '.join(found)}"
