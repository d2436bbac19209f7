"""What a fit yields for each image."""

from typing import NamedTuple

import numpy as np

from ztfpsf.noise import Noise
from ztfpsf.psf.clock import Clock
from ztfpsf.psf.inputs.stack import Chunk
from ztfpsf.psf.optimisers import Solution
from ztfpsf.psf.product.psf import Psf, PsfGrid
from ztfpsf.psf.profile.field import count_terms
from ztfpsf.psf.profile.star import FLUX, POSITION
from ztfpsf.psf.solution.centroid import recentre
from ztfpsf.psf.solution.judgement import EDM_TOLERANCE, Judgement
from ztfpsf.psf.solution.strategy import Coefficients, StarFits, Strategy
from ztfpsf.psf.weights.grid import find_degree
from ztfpsf.psf.weights.rounds import Cleaned


class Quality(NamedTuple):
    """How well the models fit the stars; leading axes image and star, or star alone."""

    chi2: np.ndarray
    n_pix: np.ndarray
    core_chi2: np.ndarray  # mean squared normalised residual within CORE_RADIUS_PX
    psf_flux_error_adu: np.ndarray  # part of the flux's error that the PSF's coefficients have


class Course(NamedTuple):
    """How the optimiser went, over the problems of an image."""

    loss_history: np.ndarray  # (steps + 1,) sum
    iterations: int  # of the slowest problem
    clock: Clock  # the share of one image of its chunk
    edm: float  # expected decrease of chi2 that is left, sum
    n_problems: int
    n_not_converged: int


class ImageFit(NamedTuple):
    """Result for one image; arrays over all its n stars, fitted, reserved and rejected."""

    psf: Psf
    n_effective: np.ndarray  # (groups,) coefficients of the grid that the data determine
    stars: StarFits
    quality: Quality
    good: np.ndarray  # (n, S, S) bool, after clipping
    is_fitted: np.ndarray  # (n,) bool, entered the PSF fit
    status: np.ndarray  # (n,) str: ok, outlier, too_few_pixels
    n_own: int  # free parameters of each fitted star
    n_shared: int  # free parameters that the fitted stars share
    course: Course


class ChunkFit(NamedTuple):
    """All about a chunk that was fitted; leading axis `image`."""

    chunk: Chunk
    strategy: Strategy
    cleaned: Cleaned
    coefficients: Coefficients
    stars: StarFits
    quality: Quality
    solution: Solution
    judgement: Judgement
    clock: Clock

    def read_image(self, number: int) -> ImageFit:
        """The result of one image, its stars in their own order."""
        place = self.chunk.places[number]
        kept = self.cleaned.kept
        is_usable, has_pixels, good = (
            np.asarray(part)[number][place] for part in (kept.is_usable, kept.has_pixels, kept.good)
        )
        is_fitted = is_usable & ~self.chunk.stamps[number].is_reserved
        status = np.where(is_usable, "ok", "outlier").astype("U16")
        status[~has_pixels] = "too_few_pixels"
        profile = self.coefficients.profile[number]
        n_effective = np.zeros(0)
        if self.cleaned.grid is not None:
            n_effective = self.cleaned.grid.n_effective[number]
        n_shared = self.strategy.count_shared(profile) + round(float(n_effective.sum()))
        quality = Quality(*(part[number, place] for part in self.quality))
        flux_adu = self.stars.parameters[number, place, FLUX]
        flux_error = quality.psf_flux_error_adu[is_usable] / flux_adu[is_usable]
        psf, shift_px = recentre(self._read_psf(number, float(np.median(flux_error))))
        return ImageFit(
            psf=psf,
            n_effective=n_effective,
            stars=self._read_stars(number, shift_px),
            quality=quality,
            good=good,
            is_fitted=is_fitted,
            status=status,
            n_own=self.strategy.count_own(self.chunk.model),
            n_shared=n_shared,
            course=self._read_course(number, place[is_fitted]),
        )

    def _read_stars(self, number: int, shift_px: np.ndarray) -> StarFits:
        """Those of an image; their PSF's origin has moved by a polynomial (C, 2)."""
        place = self.chunk.places[number]
        stars = StarFits(*(part[number, place] for part in self.stars))
        moved = stars.parameters.copy()
        basis = np.asarray(self.chunk.stack.basis)[number, place, : len(shift_px)]
        moved[:, POSITION] += basis @ shift_px
        return stars._replace(parameters=moved)

    def _read_psf(self, number: int, flux_error: float) -> Psf:
        stamps, profile = self.chunk.stamps[number], self.coefficients.profile[number]
        covariance = self.coefficients.covariance[number, : profile.size, : profile.size]
        return Psf(
            stamps.image,
            self.chunk.model,
            profile,
            covariance,
            self.chunk.size.degree,
            stamps.nx,
            stamps.ny,
            Noise(*(float(np.asarray(part)[number]) for part in self.cleaned.kept.noise)),
            flux_error,
            self._read_grid(number),
            stamps.pocket,
        )

    def _read_grid(self, number: int) -> PsfGrid | None:
        if self.coefficients.grid is None or self.cleaned.grid is None:
            return None
        found = self.coefficients.grid[number]
        n_profile = self.coefficients.profile[number].size
        modes = np.asarray(self.cleaned.grid.terms.modes)[number]
        n_modes, n_terms = found.shape
        blocks = self.coefficients.covariance[number, n_profile:, n_profile:]
        blocks = blocks.reshape(n_modes, n_terms, n_modes, n_terms)
        variance = [
            np.einsum("gm,gm->g", modes @ blocks[:, term, :, term], modes)
            for term in range(n_terms)
        ]
        settings = self.chunk.settings.grid
        degree = find_degree(self.cleaned.grid, number, settings.degree)
        is_there = np.arange(n_terms)
        is_there = (is_there < count_terms(degree)) | (is_there >= count_terms(settings.degree))
        return PsfGrid(
            nodes=(modes @ found)[:, is_there],
            error=np.sqrt(np.maximum(variance, 0.0)).T[:, is_there],
            degree=degree,
            flux_terms=settings.flux_terms,
            flux_range=self.cleaned.grid.flux_ranges[number],
        )

    def _read_course(self, number: int, fitted: np.ndarray) -> Course:
        """`fitted`: places of the fitted stars; the problems of rejected ones are none."""
        n = self.chunk.size.n_candidates
        mine = self.strategy.find_problems(number, fitted, n)
        edm = np.asarray(self.judgement.edm)[mine]
        n_images = len(self.chunk.stamps)
        return Course(
            loss_history=sum_histories(np.asarray(self.solution.loss_history)[mine]),
            iterations=int(np.asarray(self.solution.iterations)[mine].max()),
            clock=Clock(self.clock.total_s / n_images, self.clock.compile_s / n_images),
            edm=float(edm.sum()),
            n_problems=len(edm),
            n_not_converged=int(np.sum(~(edm < EDM_TOLERANCE))),
        )


def sum_histories(histories: np.ndarray) -> np.ndarray:
    """Total loss after each step; a problem that has ended keeps its last loss. (p, m) -> (k,)."""
    n_steps = int(np.isfinite(histories).any(axis=0).sum())
    filled = histories[:, :n_steps].copy()
    for step in range(1, n_steps):
        missing = ~np.isfinite(filled[:, step])
        filled[missing, step] = filled[missing, step - 1]
    return filled.sum(axis=0)
