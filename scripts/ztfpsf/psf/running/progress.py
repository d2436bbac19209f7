"""Lines for the log: every image, and how far the unit is."""

import logging
import time
from collections.abc import Mapping

import pandas as pd

from ztfpsf.psf.running.request import Outcome, Products

logger = logging.getLogger("ztfpsf")


class Progress:
    """Tells what became of the images of a unit, `n_stars` by image."""

    def __init__(self, n_images: int, n_stars: pd.Series) -> None:
        self._n_images = n_images
        self._n_stars = n_stars
        self._images = self._stars = 0
        self._start = time.monotonic()

    def tell(self, outcomes: Mapping[str, Outcome]) -> None:
        """Some images are done."""
        for image, outcome in outcomes.items():
            self._images += 1
            self._stars += int(self._n_stars.get(image, 0))
            if isinstance(outcome, Products):
                logger.info("%s", describe(outcome.image))
        self._tell_rate()

    def _tell_rate(self) -> None:
        elapsed = time.monotonic() - self._start
        left = elapsed / self._images * (self._n_images - self._images)
        logger.info(
            "%d of %d images, %d stars, %.0f s, %.0f s left",
            self._images,
            self._n_images,
            self._stars,
            elapsed,
            left,
        )


def describe(row: Mapping) -> str:
    """A line about an image, a row of the images table."""
    return (
        f"{row['image']}: {row['n_fitted']} stars fitted, {row['n_reserved']} reserved, "
        f"{row['n_rejected']} rejected, degree {row['degree']}, "
        f"chi2/dof {row['chi2'] / max(row['dof'], 1):.3f}, "
        f"FWHM {row['fwhm_px']:.3f} +- {row['fwhm_error_px']:.3f} px, {row['iterations']} steps "
        f"in {row['seconds']:.2f} s (+ {row['compile_seconds']:.1f} s compiling), {row['status']}"
    )
