"""The PSF of an image: its picture, its profile, and the light inside a radius."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ztfpsf.plots.style import COUNTS, CYCLE, GREY, make_figure
from ztfpsf.psf import Psf

HEIGHT_IN = 2.7
SIZE_PX = 51
FAINTEST = 1e-7  # px^-1 that is shown: a Gaussian falls far below what anyone sees
PLACES = {
    "centre": (0.5, 0.5),
    "low x, low y": (0.05, 0.05),
    "high x, low y": (0.95, 0.05),
    "low x, high y": (0.05, 0.95),
    "high x, high y": (0.95, 0.95),
}


def draw_psf(psf: Psf, title: str) -> Figure:
    """Three panels: the PSF at the centre of the image; profile and growth curve over the field."""
    figure = make_figure(HEIGHT_IN)
    figure.suptitle(title, fontsize=9)
    picture, profile, growth = figure.subplots(1, 3)
    stamps = {
        name: psf.stamp(int(x * psf.nx), int(y * psf.ny), SIZE_PX)
        for name, (x, y) in PLACES.items()
    }
    _draw_picture(picture, stamps["centre"])
    for colour, (name, stamp) in zip(CYCLE, stamps.items(), strict=False):
        radius, values = find_profile(stamp)
        profile.plot(radius, values, color=colour, linewidth=0.9, label=name)
        radius, light = find_growth(stamp)
        growth.plot(radius, light, color=colour, linewidth=0.9)
    profile.set(
        title="mean over rings", xlabel="radius (px)", ylabel="PSF (1/px)", yscale="log",
        xlim=(0, SIZE_PX // 2), ylim=(FAINTEST, 1.0),
    )  # fmt: skip
    profile.legend(handlelength=1.0)
    growth.axhline(1.0, color=GREY, linewidth=0.8, linestyle="--")
    growth.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
    growth.set(
        title="growth curve", xlabel="radius (px)", ylabel="fraction of the light", ylim=(0, 1.05),
        xlim=(0, 15),
    )  # fmt: skip
    return figure


def _draw_picture(axes: Axes, stamp: np.ndarray) -> None:
    half = len(stamp) / 2
    image = axes.imshow(
        np.maximum(stamp, 0.1 * FAINTEST), cmap=COUNTS, norm=LogNorm(FAINTEST, stamp.max()),
        extent=(-half, half, -half, half),
    )  # fmt: skip
    axes.set(title="PSF at the centre (1/px)", xlabel="x (px)", ylabel="y (px)")
    axes.figure.colorbar(image, ax=axes, shrink=0.75)


def _radius(size_px: int) -> np.ndarray:
    offset = np.arange(size_px) - size_px // 2
    return np.hypot(offset, offset[:, None])


def find_profile(stamp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean radius (px) and pixel of rings 1 px wide around the middle of a stamp."""
    radius = _radius(len(stamp))
    ring = np.round(radius).astype(int)
    ring, inside = ring[ring <= len(stamp) // 2], ring <= len(stamp) // 2
    counts = np.bincount(ring)
    return (
        np.bincount(ring, radius[inside]) / counts,
        np.bincount(ring, stamp[inside]) / counts,
    )


def find_growth(stamp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radius (px) and light inside it; a pixel counts by its part within, to 0.1 px."""
    size, fine = len(stamp), 10
    # The PSF is even inside a pixel, as far as a growth curve can tell.
    small = np.repeat(np.repeat(stamp, fine, axis=0), fine, axis=1) / fine**2
    offset = (np.arange(size * fine) + 0.5) / fine - size / 2
    radius = np.hypot(offset, offset[:, None]).ravel()
    edges = np.arange(0.0, size / 2, 0.25)
    light, _ = np.histogram(radius, edges, weights=small.ravel())
    return edges[1:], np.cumsum(light)
