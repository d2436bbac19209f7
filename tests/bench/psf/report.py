"""The figures of all codes as tables, and the part of a document that shows them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

BINS = ("14-15", "15-16", "16-17", "17-18 mag")


def markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def seconds(figures: Mapping) -> str:
    """Wall time; of our fits without compilation, and with it."""
    if "seconds" not in figures:
        return ""
    cold = f" ({figures['cold_s']:.0f})" if "cold_s" in figures else ""
    return f"{figures['seconds']:.3g}{cold}"


def chi2(figures: Mapping) -> list[str]:
    return [_chi2(value) for value in figures["core_chi2"]]


def _chi2(value: float) -> str:
    """Nothing without a star."""
    if np.isnan(value):
        return ""
    return f"{value:.3g}" if value >= 10 else f"{value:.2f}"


def simulated_row(label: str, figures: Mapping) -> list[str]:
    return [
        label,
        f"{figures['l2_median']:.4f}",
        f"{figures['size_bias']:+.4f}",
        f"{figures['size_rms']:.4f}",
        *chi2(figures),
        f"{figures['flux_bias_mmag']:+.1f} ± {figures['flux_scatter_mmag']:.1f}",
        f"{figures['position_rms_mpx']:.1f}",
        f"{figures['flux_pull_width']:.2f}",
        f"{figures['position_pull_width']:.2f}",
        seconds(figures),
    ]


SIMULATED_HEAD = [
    "code",
    "L2",
    "dT/T mean",
    "dT/T rms",
    *(f"chi2 {name}" for name in BINS),
    "flux (mmag)",
    "position (mpx)",
    "flux pull",
    "position pull",
    "fit (s)",
]
REAL_HEAD = ["code", *(f"chi2 {name}" for name in BINS), "fit (s)"]


def make_table(rows: Mapping[str, Mapping]) -> str:
    """Table of one set; `rows`: figures by label."""
    if any("l2_median" in figures for figures in rows.values()):
        body = [simulated_row(label, figures) for label, figures in rows.items()]
        return markdown([SIMULATED_HEAD, *body])
    body = [[label, *chi2(figures), seconds(figures)] for label, figures in rows.items()]
    return markdown([REAL_HEAD, *body])


def replace_part(document: Path, command: str, text: str) -> None:
    """Put the text between the document's markers of a command."""
    opening, closing = f"<!-- figures: {command} -->\n", "<!-- end of figures -->\n"
    before, begin, rest = document.read_text().partition(opening)
    _, end, after = rest.partition(closing)
    if not (begin and end):
        raise SystemExit(
            f"Error: {document} lacks {opening.strip()} and {closing.strip()} after it."
        )
    document.write_text(f"{before}{begin}\n{text.strip()}\n\n{end}{after}")
