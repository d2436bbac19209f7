"""The one style of all pictures: fonts, colours for the colour-blind, sizes, file formats."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ztfpsf.errors import InputError
from ztfpsf.io import atomic_path

logger = logging.getLogger("ztfpsf")

# Okabe & Ito (2008), https://jfly.uni-koeln.de/color
BLUE, ORANGE, GREEN, PINK, SKY, RED = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
)
GREY = "#666666"
CYCLE = (BLUE, RED, GREEN, ORANGE, PINK, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")

COUNTS = "viridis"
RESIDUALS = "RdBu_r"
MASKED = "#B0B0B0"

WIDTH_IN = 7.1  # two columns of a journal

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "mathtext.default": "regular",
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "image.origin": "lower",
    "image.interpolation": "nearest",
    "figure.dpi": 100.0,
    "savefig.dpi": 250.0,
    "pdf.fonttype": 42,  # text stays text in PDF
    "svg.fonttype": "none",
    "svg.hashsalt": "ztfpsf",
}
# Files of equal content are equal: no date in them.
METADATA = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}


@contextmanager
def styled() -> Iterator[None]:
    """Everything drawn and saved inside has the style, whatever the user's settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def make_figure(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """A figure that belongs to no window; it is freed with its last reference."""
    return Figure(figsize=(width_in, height_in), layout="constrained")


def make_text_figure(text: str) -> Figure:
    """A picture that says why there is nothing to see."""
    figure = make_figure(2.0)
    figure.text(0.5, 0.5, plain(text), ha="center", va="center", wrap=True)
    return figure


def plain(text: str) -> str:
    """Words that may hold a dollar sign, as matplotlib shows them without formulae."""
    return text.replace("$", "\\$")


def draw_picture(path: str | Path, draw: Callable[..., Figure], *what: Any) -> None:
    """Write the picture draw(*what), in our style, in the format of the suffix of its path.

    A picture must not cost the tables of its rule: one that cannot be drawn says why, here and in
    the log. Raises InputError for another format.
    """
    with styled():
        try:
            save(draw(*what), path)
        except InputError:
            raise
        # What matplotlib raises for numbers that it cannot show.
        except (ValueError, ArithmeticError, RuntimeError) as error:
            logger.warning("%s: not drawn: %s", path, error)
            save(make_text_figure(f"This picture cannot be drawn: {error}"), path)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure in the format of the suffix. Raises InputError for another format."""
    suffix = Path(path).suffix.removeprefix(".")
    if suffix not in METADATA:
        raise InputError(
            f"{path}: pictures are {', '.join(METADATA)}; correct the config key "
            "plot_psf.image_format."
        )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=suffix, metadata=METADATA[suffix])


def hide_ticks(axes: Axes) -> None:
    """No ticks: for stamps whose size is told elsewhere."""
    axes.set_xticks([])
    axes.set_yticks([])


def round_up(value: float) -> float:
    """The next number of the series 1, 2, 5, 10, ...; limits of colour bars."""
    if not np.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if value <= step * power * (1 + 1e-9)))


def shorten(image: str) -> str:
    """CCD and quadrant of an image's name, its unit is named elsewhere: c13_o_q3 -> c13 q3."""
    return image.split("_", 4)[-1].replace("_o_", " ")
