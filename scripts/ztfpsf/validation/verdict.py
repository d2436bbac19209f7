"""Good, usable or bad: the numbers of an image against their limits."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ztfpsf.errors import InputError
from ztfpsf.quality import NOT_CONVERGED, OK

VERDICTS = ("good", "usable", "bad")


class Criterion(NamedTuple):
    """A number with two limits: beyond the first an image is usable, beyond the second bad."""

    key: str  # of the limits; min_ or max_ says on which side
    column: str
    words: str  # with the value
    error: str = ""  # column of its error: only what goes beyond it counts

    @property
    def is_minimum(self) -> bool:
        return self.key.startswith("min_")


CRITERIA = (
    Criterion("min_reserved_stars", "n_measured", "reserved stars to judge by: {:.0f}"),
    Criterion("max_rejected_fraction", "rejected_fraction", "part of the stars rejected: {:.2f}"),
    Criterion("max_clipped_fraction", "clipped_fraction", "part of the pixels rejected: {:.3f}"),
    Criterion(
        "max_failed_moments_fraction",
        "failed_moments_fraction",
        "part of the stars without adaptive moments: {:.2f}",
    ),
    Criterion("min_fwhm_px", "fwhm_px", "FWHM {:.2f} px"),
    Criterion("max_fwhm_px", "fwhm_px", "FWHM {:.2f} px"),
    Criterion("max_ellipticity", "ellipticity", "stars elongated, ellipticity {:.2f}"),
    Criterion("min_fourth_moment", "fourth_moment", "stars flat or hollow, fourth moment {:.3f}"),
    Criterion("min_sky_mag_arcsec2", "sky_mag_arcsec2", "bright sky, {:.2f} mag/arcsec^2"),
    Criterion("max_misfit", "misfit", "misfit of the bright cores {:.3f}", "misfit_error"),
    Criterion(
        "max_size_residual", "size_residual", "mean size residual {:+.4f}", "size_residual_error"
    ),
    Criterion(
        "max_size_range",
        "size_range",
        "size residual of faint minus bright stars {:+.3f}",
        "size_range_error",
    ),
    Criterion(
        "max_ellipticity_residual",
        "ellipticity_residual",
        "mean ellipticity residual {:.4f}",
        "ellipticity_residual_error",
    ),
    Criterion(
        "max_photometric_offset_mmag",
        "photometric_offset_mmag",
        "PSF minus aperture magnitude {:+.1f} mmag",
        "photometric_offset_error_mmag",
    ),
    Criterion(
        "max_noise_disagreement",
        "noise_disagreement",
        "noise of the sky is not that of GAIN and READNOI, off by a factor 1 + {:.2f}",
    ),
    Criterion(
        "max_zero_point_excess_mag",
        "zero_point_excess_mag",
        "MAGZP is not that of its exposure time, off by {:+.2f} mag",
    ),
    Criterion(
        "max_limited_fraction",
        "limited_fraction",
        "part of the stars outside the magnitude limits: {:.2f}",
    ),
    Criterion("max_apcor_offset_mmag", "apcor_offset_mmag", "offset from APCOR {:+.0f} mmag"),
    Criterion(
        "max_pocket_misfit_adu",
        "pocket_misfit_adu",
        "columns read first are not those of the law of the pocket, off by {:.1f} ADU",
    ),
    Criterion("max_infobits", "infobits", "IPAC's quality control says INFOBITS {:.0f}"),
    Criterion("min_ipac_status", "ipac_status", "IPAC's processing failed, STATUS {:.0f}"),
)


class Verdict(NamedTuple):
    verdict: str  # one of VERDICTS
    reason: str


class _Failure(NamedTuple):
    level: int  # index of VERDICTS
    excess: float  # how far beyond the limit, relative
    text: str


def check_limits(limits: Mapping[str, Sequence[float]]) -> None:
    """Raise InputError when a limit of usable images is stricter than that of good ones."""
    for criterion in CRITERIA:
        good, usable = limits[criterion.key]
        if good < usable if criterion.is_minimum else good > usable:
            raise InputError(
                f"config: key 'validate_psf.limits.{criterion.key}' is [{good:g}, {usable:g}]; the "
                "second limit, of usable images, must not be stricter than the first, of good ones."
            )


def judge(row: Mapping[str, Any], limits: Mapping[str, Sequence[float]]) -> Verdict:
    """The verdict on the numbers of `summarise`, with all that failed, the worst first.

    `limits`: by the key of each criterion, those of good and of usable images. A number is beyond
    its limit when it is so by more than its error; one that is not known is not judged, as too few
    stars are a reason of their own.
    """
    if row["fit_status"] not in (OK, NOT_CONVERGED):
        return Verdict(VERDICTS[2], str(row["fit_status"]))
    failures = [
        failure
        for criterion in CRITERIA
        if (failure := _test(criterion, row, *limits[criterion.key])) is not None
    ]
    if row["fit_status"] == NOT_CONVERGED:
        failures.append(_Failure(1, 0.0, "the fit has not converged"))
    if not failures:
        return Verdict(VERDICTS[0], "all numbers are within their limits")
    failures.sort(key=lambda failure: (-failure.level, -failure.excess))
    return Verdict(VERDICTS[failures[0].level], "; ".join(failure.text for failure in failures))


def _test(
    criterion: Criterion, row: Mapping[str, Any], good: float, usable: float
) -> _Failure | None:
    value = float(row[criterion.column])
    if not np.isfinite(value):
        return None
    size = value if criterion.is_minimum else abs(value)
    error = float(row[criterion.error]) if criterion.error else 0.0
    for level, limit in ((2, usable), (1, good)):
        beyond = limit - size if criterion.is_minimum else size - limit
        if beyond > (error if np.isfinite(error) else np.inf):
            side = "below" if criterion.is_minimum else "above"
            text = f"{criterion.words.format(value)}, {side} {limit:.12g}"
            return _Failure(level, beyond / max(abs(limit), 1e-12), text)
    return None
