"""The summary: a few sentences that say how good the PSF of a unit is."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ztfpsf.compare.fits import NEAR_MINIMUM, REFERENCE, Fit, Speed, group_by_model, measure_speeds
from ztfpsf.compare.parameters import core_chi2, find_bins, find_reserved
from ztfpsf.quality import PIXEL_ARCSEC, Bin, format_chi2

WIDTH = 100


def make_summary(fits: Sequence[Fit], unit: str) -> str:
    """Text of several paragraphs, lines of at most WIDTH characters."""
    bins = find_bins(fits)
    best = find_best(fits, bins)
    parts = [f"PSF of {unit}"]
    if best is None:
        parts.append("No image was fitted: there is no PSF.")
    else:
        parts += [describe_best(best), describe_quality(fits, best, bins), describe_speeds(fits)]
    parts.append(describe_problems(fits))
    return "\n\n".join(part for part in parts if part) + "\n"


def find_best(fits: Sequence[Fit], bins: Sequence[Bin]) -> Fit | None:
    """The model of least mean ln(core chi2) over the bins, by the quickest way to its minimum.

    Reserved stars decide between models; where none is reserved, or between optimisers, chi2
    decides. None if no fit has an image.
    """
    groups = [[fit for fit in group if len(fit.done)] for group in group_by_model(fits).values()]
    groups = [group for group in groups if group]
    if not groups:
        return None
    quickest = [find_quickest(group) for group in groups]
    return min(quickest, key=lambda fit: (score(fit, bins), chi2_per_dof(fit)))


def find_quickest(group: Sequence[Fit]) -> Fit:
    """Of the fits of one model, the fastest of those that are at the minimum."""
    speeds = measure_speeds(group)
    least = np.nanmin([speed.excess for speed in speeds], initial=np.inf)
    order = [
        (not speed.excess <= max(least, NEAR_MINIMUM), fit.done["seconds"].sum(), i)
        for i, (fit, speed) in enumerate(zip(group, speeds, strict=True))
    ]
    return group[min(order)[-1]]


def score(fit: Fit, bins: Sequence[Bin]) -> float:
    """Mean ln of the bins' median core chi2; infinite where a bin has no star."""
    medians = [core_chi2(fit, one) for one in bins]
    known = [np.log(median) for median in medians if median > 0]
    return float(np.mean(known)) if known and len(known) == len(bins) else np.inf


def chi2_per_dof(fit: Fit) -> float:
    return float(fit.done["chi2"].sum() / max(fit.done["dof"].sum(), 1))


def describe_best(fit: Fit) -> str:
    """Which fit is best, its stars and its width."""
    done = fit.done
    images = f"{len(done)} of {len(fit.images)} images: " if len(fit.images) > 1 else ""
    fwhm = done["fwhm_px"].to_numpy(float)
    width = f"FWHM {np.median(fwhm):.2f} px = {np.median(fwhm) * PIXEL_ARCSEC:.2f} arcsec"
    if len(done) > 1:
        width += f" (median of the images; {fwhm.min():.2f} to {fwhm.max():.2f} px)"
    return _wrap(
        f"Best fit: {fit.model} by {fit.optimiser}. {images}{_total(done, 'n_fitted')} stars "
        f"fitted, {_total(done, 'n_reserved')} reserved for the test below, "
        f"{_total(done, 'n_rejected')} rejected as outliers. Field polynomial of degree "
        f"{_range(done['degree'])}. {width} at the image centre, before "
        f"integration over the pixel; chi2/dof {chi2_per_dof(fit):.2f}."
    )


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"


def _total(images: pd.DataFrame, column: str) -> int:
    return int(images[column].sum())


def describe_quality(fits: Sequence[Fit], best: Fit, bins: Sequence[Bin]) -> str:
    """Core chi2 of the reserved stars, a line per bin and a column per model."""
    if not bins:
        return _wrap("No star was reserved: nothing but chi2 tells how good this PSF is.")
    quickest = [
        find_quickest(done)
        for group in group_by_model(fits).values()
        if (done := [fit for fit in group if len(fit.done)])
    ]
    head = ["mag", "stars", *(fit.model for fit in quickest)]
    reserved = find_reserved(best)["mag"]
    rows = [
        [one.label, str(int(one.holds(reserved).sum()))]
        + [_show(core_chi2(fit, one)) for fit in quickest]
        for one in bins
    ]
    ratio = np.sqrt(core_chi2(best, bins[0]))
    intro = _wrap(
        "How well it predicts the reserved stars, which no fit saw: the mean squared residual "
        "within 4 px, in units of the noise, median over the stars. 1 would be nothing but noise. "
        f"Residuals of {bins[0].label} mag stars are {ratio:.1f} times the noise there."
    )
    return intro + "\n" + _align([head, *rows])


def _show(value: float) -> str:
    return format_chi2(value) if np.isfinite(value) else "-"


def _align(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join("  " + line for line in lines)


def describe_speeds(fits: Sequence[Fit]) -> str:
    """Time to the minimum of the optimisers, for each model that has several."""
    blocks = []
    for model, group in group_by_model(fits).items():
        if len(group) > 1:
            rows = [
                _describe_speed(fit, speed)
                for fit, speed in zip(group, measure_speeds(group), strict=True)
            ]
            intro = _wrap(
                f"Optimisers on {model}: seconds, compilation excluded, until chi2 is within "
                "0.1 % of the smallest one found."
            )
            blocks.append(intro + "\n" + "\n".join(f"  {row}" for row in rows))
    return "\n\n".join(blocks)


def _describe_speed(fit: Fit, speed: Speed) -> str:
    if not len(fit.done):
        return f"{fit.optimiser}: failed"
    end = f"{fit.done['iterations'].max():.0f} steps, {_time(fit.done['seconds'].sum())} in all"
    if not np.isfinite(speed.seconds):
        return (
            f"{fit.optimiser}: never; it ended {100 * speed.excess:.2g} % above the smallest chi2 "
            f"({end})"
        )
    ratio = ""
    if np.isfinite(speed.ratio) and fit.optimiser != REFERENCE:
        ratio = f", {speed.ratio:.1f} times as long as {REFERENCE}"
    return f"{fit.optimiser}: {_time(speed.seconds)}{ratio} ({end})"


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


def describe_problems(fits: Sequence[Fit]) -> str:
    """Images that failed, with the reason, and fits that did not converge."""
    failures: dict[tuple[str, str], list[str]] = {}
    for fit in fits:
        for row in fit.failed.itertuples():
            failures.setdefault((row.image, row.status), []).append(fit.name)
    lines = []
    for (image, reason), names in failures.items():
        where = "every fit" if len(names) == len(fits) else "; ".join(names)
        what = reason if image in reason else f"{image}: {reason}"
        lines.append(_wrap(f"Failed ({where}): {what}"))
    for fit in fits:
        if len(fit.unconverged):
            left = f"chi2 is still expected to fall by {fit.unconverged['edm'].sum():.2g}"
            images = f" ({', '.join(fit.unconverged['image'])})" if len(fit.images) > 1 else ""
            lines.append(_wrap(f"Not converged: {fit.name}; {left}{images}."))
    return "\n".join(lines)


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
