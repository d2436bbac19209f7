"""The validation of a unit in words and small tables."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ztfpsf.quality import Bin
from ztfpsf.validation.verdict import VERDICTS

WIDTH = 100
# Heading, column, format
COLUMNS = (
    ("stars", "n_measured", "{:.0f}"),
    ("FWHM px", "fwhm_px", "{:.2f}"),
    ("ellip.", "ellipticity", "{:.3f}"),
    ("misfit", "misfit", "{:.3f}"),
    ("core chi2", "bright_core_chi2", "{:.2f}"),
    ("dT/T", "size_residual", "{:+.4f}"),
    ("dg1", "g1_residual", "{:+.4f}"),
    ("dg2", "g2_residual", "{:+.4f}"),
    ("mmag", "photometric_offset_mmag", "{:+.1f}"),
)
LEGEND = (
    "Reserved stars. FWHM: of the Gaussian of the stars' adaptive moments. misfit, core chi2: of "
    "the brightest quarter, within 4 px; misfit is the error of the model, rms, relative to the "
    "star. dT/T, dg: mean size and ellipticity, star minus model. mmag: PSF minus aperture "
    "magnitude, the PSF's light outside the aperture added."
)


def count_verdicts(images: pd.DataFrame) -> str:
    """How many images are good, usable and bad: "2 images: 1 good, 1 bad"."""
    counts = images["verdict"].value_counts()
    found = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if verdict in counts]
    return f"{len(images)} image{'s' * (len(images) != 1)}: {', '.join(found)}"


def make_report(images: pd.DataFrame, bins: Sequence[Bin], title: str) -> str:
    """Text of the images table; a single image gets its bins, apertures and trends, too."""
    parts = [f"{title}\n{count_verdicts(images)}"]
    parts += [
        textwrap.fill(f"{row['image']} {row['verdict']}: {row['reason']}", WIDTH)
        for _, row in images.iterrows()
    ]
    parts += [
        _table(
            ["image", "verdict", *(heading for heading, *_ in COLUMNS)],
            [
                [row["image"], row["verdict"], *(_format(f, row[c]) for _, c, f in COLUMNS)]
                for _, row in images.iterrows()
            ],
        ),
        textwrap.fill(LEGEND, WIDTH),
    ]
    if len(images) == 1 and images.iloc[0]["n_measured"] > 0:
        row = images.iloc[0]
        parts += [_describe_bins(row, bins), _describe_apertures(row), describe_trends(row)]
    return "\n\n".join(parts) + "\n"


def _format(pattern: str, value: float) -> str:
    return pattern.format(value) if np.isfinite(value) else "-"


def _with_error(row: pd.Series, name: str, pattern: str) -> str:
    """The columns that `name` stands for with "" and with "_error" in its braces."""
    value, error = row[name.format("")], row[name.format("_error")]
    return pattern.format(value, error) if np.isfinite([value, error]).all() else "-"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need be, the first one to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) if k else cell.ljust(width) for k, (cell, width) in cells)
        for cells in (enumerate(zip(line, widths, strict=True)) for line in (headings, *rows))
    ]
    return "\n".join(line.rstrip() for line in lines)


def _describe_bins(row: pd.Series, bins: Sequence[Bin]) -> str:
    lines = []
    for one in bins:
        name = f"{one.low}_{one.low + 1}mag"
        lines.append(
            [
                f"{one.label} mag",
                _format("{:.0f}", row[f"n_{name}"]),
                _format("{:.2f}", row[f"core_chi2_{name}"]),
                _format("{:.2f}", row[f"chi2_per_dof_{name}"]),
                *(
                    _with_error(row, f"{kind}_residual{{}}_{name}", "{:+.4f} +- {:.4f}")
                    for kind in ("size", "g1", "g2")
                ),
            ]
        )
    return _table(["bin", "stars", "core chi2", "chi2/dof", "dT/T", "dg1", "dg2"], lines)


def _describe_apertures(row: pd.Series) -> str:
    diameters = [
        name.removeprefix("psf_minus_ap_").removesuffix("px_mmag")
        for name in row.index
        if name.startswith("psf_minus_ap_")
    ]
    lines = [
        [
            f"{diameter} px",
            _format("{:+.1f}", row[f"psf_minus_ap_{diameter}px_mmag"]),
            _with_error(row, f"corrected{{}}_{diameter}px_mmag", "{:+.1f} +- {:.1f}"),
            _format("{:+.1f}", row[f"apcor_{diameter}px_mmag"]),
            _format("{:+.1f}", row[f"minus_apcor_{diameter}px_mmag"]),
        ]
        for diameter in diameters
    ]
    table = _table(["diameter", "PSF - ap", "corrected", "APCOR", "minus APCOR"], lines)
    if np.isfinite(row["apcor_offset_mmag"]):
        table += f"\nminus APCOR: less the common offset of {row['apcor_offset_mmag']:+.1f} mmag"
    return f"PSF minus aperture magnitude (mmag)\n{table}"


def describe_trends(row: pd.Series) -> str:
    """The trends of the size with magnitude, in words."""
    if not np.isfinite(row["size_per_mag"]):
        return f"Trends with magnitude: {row['n_trend']:.0f} stars are too few."
    text = (
        f"Size against magnitude: dT/T {_value(row, 'size_per_mag', '{:+.4f} +- {:.4f}')} per mag. "
        "Against flux: dT/T = constant + a flux / 1e5 ADU + b / flux, with a = "
        f"{_value(row, 'size_per_1e5adu', '{:+.3f} +- {:.3f}')}, as of the brighter-fatter effect, "
        f"and b = {_value(row, 'size_charge_adu', '{:+.0f} +- {:.0f} ADU')}, as of charge left "
        f"behind in read-out; b of g1 {_value(row, 'g1_charge_adu', '{:+.0f} +- {:.0f} ADU')}, of "
        f"g2 {_value(row, 'g2_charge_adu', '{:+.0f} +- {:.0f} ADU')}. A term linear in flux is "
        f"{'' if row['needs_flux_term'] else 'not '}asked for."
    )
    return textwrap.fill(text, WIDTH)


def _value(row: pd.Series, name: str, pattern: str) -> str:
    value, error, sigma = (row[f"{name}{suffix}"] for suffix in ("", "_error", "_sigma"))
    return f"{pattern.format(value, error)} ({abs(sigma):.1f} sigma)"
