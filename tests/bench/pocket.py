"""Fluxes and positions of stars read out through a simulated pocket, with and without its law.

    python tests/bench/pocket.py [sky in ADU ...]

The pocket catches electrons one after the other (ztfpsf.simulation.pocket). Of every sky: the law
that is measured beside the true one, and the bias of stars that no fit has seen, by magnitude.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "helpers")]

import jax.numpy as jnp  # noqa: E402
from pocket_stars import GAIN, READ_NOISE, SHARPNESS, PocketStars, make_pocket_stars  # noqa: E402
from ztfpsf.pocket.estimate import LawFit, LawImage, measure_law  # noqa: E402
from ztfpsf.pocket.flat import NO_FLAT  # noqa: E402
from ztfpsf.pocket.law import NO_POCKET, Pocket, deferred, fill, keep  # noqa: E402
from ztfpsf.psf import Psf  # noqa: E402
from ztfpsf.psf.device import configure  # noqa: E402
from ztfpsf.psf.inputs.settings import FitSettings, GridSettings  # noqa: E402
from ztfpsf.psf.models import get_model  # noqa: E402
from ztfpsf.psf.optimisers import get_optimiser  # noqa: E402
from ztfpsf.psf.problem.star_fit import StarsInPsf, draw_stars  # noqa: E402
from ztfpsf.psf.solution.fit import fit_image  # noqa: E402
from ztfpsf.psf.solution.result import ImageFit  # noqa: E402
from ztfpsf.robust import mad_sigma  # noqa: E402
from ztfpsf.simulation.pocket import make_catch  # noqa: E402

CAPACITY_ADU = 285.0
N_FITTED = 500
TEST_MAG = np.repeat([14.5, 16.0, 17.0, 18.0, 19.0, 20.0, 21.0], [60, 60, 80, 150, 400, 800, 1500])
HOSTS_ADU = (0.0, 50.0, 150.0, 400.0)
LEVELS_ADU = np.array([160.0, 300.0, 400.0, 500.0, 700.0, 1000.0])


def simulate(sky_adu: float, capacity_adu: float) -> PocketStars:
    random = np.random.default_rng(7)
    mag = np.concatenate([random.uniform(14, 18.8, N_FITTED), TEST_MAG])
    is_reserved = np.arange(len(mag)) >= N_FITTED
    host = np.where(is_reserved, np.resize(HOSTS_ADU, len(mag)), 0.0)
    return make_pocket_stars(
        mag, is_reserved, sky_adu=sky_adu, host_adu=host, capacity_adu=capacity_adu, seed=8
    )


def compare_law(fit: LawFit) -> None:
    catch = make_catch(round(CAPACITY_ADU * GAIN), SHARPNESS).mean / GAIN
    truth = np.interp(LEVELS_ADU * GAIN, np.arange(len(catch)), catch)
    found, error = keep(fit.drops, LEVELS_ADU), fit.error_adu(LEVELS_ADU)
    print("  L at", *(f"{level:8.0f}" for level in LEVELS_ADU))
    print("  true", *(f"{value:8.1f}" for value in truth))
    print("  found", *(f"{v:.1f}+-{e:.1f}" for v, e in zip(found, error, strict=True)))
    print(f"  held {fit.held_adu:.2f} +- {fit.held_error_adu:.2f}, found: {fit.is_found}")


def fit(stars: PocketStars, pocket: Pocket, flux_terms: tuple[str, ...]) -> ImageFit:
    settings = FitSettings(degree=1, grid=GridSettings(degree=1, flux_terms=flux_terms))
    model = settings.set_grid(get_model("moffat_grid"))
    solver = get_optimiser("gauss_newton").make_solver()
    return fit_image(model, solver, stars.stamps._replace(pocket=pocket), settings)


def measure_fluxes(stars: PocketStars, psf: Psf, shift_px: np.ndarray) -> tuple[np.ndarray, ...]:
    """Flux and error of all stars at their places, their background free, (n,)."""
    stamps = stars.stamps
    params = psf.local_params(stars.x_px, stars.y_px, stars.flux_adu)
    place = np.stack([stars.x_px, stars.y_px], axis=1) + shift_px - stamps.centre_px
    unit = np.column_stack([place, np.ones(len(place)), np.zeros(len(place))])
    in_psf = StarsInPsf(jnp.asarray(unit), jnp.asarray(params))
    size = stamps.size_px
    profile = np.asarray(draw_stars(psf.model, in_psf, size, 64)).reshape(len(place), -1)
    sky, constant = stamps.sky_adu[:, None], (READ_NOISE / GAIN) ** 2
    model = sky + stars.flux_adu[:, None] * profile
    local = psf.pocket.at(stamps.nx / 2, stamps.ny / 2, stamps.nx, stamps.ny)
    for _ in range(4):
        change = np.asarray(deferred(local, model.reshape(stamps.data.shape)))
        data = (stamps.data - change).reshape(model.shape)
        weight = 1.0 / (np.maximum(model, sky) / GAIN + constant)
        total = weight.sum(axis=1, keepdims=True)
        columns = profile - (weight * profile).sum(axis=1, keepdims=True) / total
        information = (weight * columns**2).sum(axis=1)
        flux = (weight * columns * data).sum(axis=1) / information
        rest = data - flux[:, None] * profile
        model = flux[:, None] * profile + (weight * rest).sum(axis=1, keepdims=True) / total
    return flux, information**-0.5


def report(name: str, stars: PocketStars, found: ImageFit) -> None:
    stamps = stars.stamps
    parameters = found.stars.parameters
    centre = stamps.centre_px
    place = np.stack([stars.x_px, stars.y_px], axis=1)
    offset_px = parameters[:, :2] + centre - place
    bright = found.is_fitted & (stars.mag < 16)
    # That of a comatic PSF is a matter of definition.
    zero_px = np.median(offset_px[bright], axis=0)
    shift = 1e3 * (offset_px - zero_px)[:, 0]
    flux, error_adu = measure_fluxes(stars, found.psf, zero_px)
    zero = -2500 * np.log10(np.median((flux / stars.flux_adu)[bright]))
    scale = 10 ** (zero / 2500)
    pull = (flux * scale - stars.flux_adu) / error_adu
    print(f"  {name}: groups of the grid {found.n_effective.round(1)}")
    for mag in np.unique(TEST_MAG):
        mine = stamps.is_reserved & (stars.mag == mag)
        # Mean fluxes, not mean magnitudes, which are biased where noise is large.
        ratio = flux[mine] / stars.flux_adu[mine]
        value = -2500 * np.log10(np.mean(ratio)) - zero
        error = 1086 * ratio.std() / np.sqrt(mine.sum())
        scatter = 1.25 * mad_sigma(shift[mine]) / np.sqrt(mine.sum())
        print(
            f"    {mag:5.1f} mag: {value:+7.1f} +- {error:.1f} mmag, x "
            f"{np.median(shift[mine]):+7.1f} +- {scatter:.1f} mpx, "
            f"pulls {pull[mine].std():.2f}"
        )


def main(skies: list[float]) -> None:
    configure("cpu")
    for sky_adu in skies:
        for capacity_adu in (CAPACITY_ADU, 0.0):
            stars = simulate(sky_adu, capacity_adu)
            print(f"sky {sky_adu:g} ADU, capacity {capacity_adu:g} ADU")
            law = measure_law([LawImage(stars.stamps, stars.edge)], 1)
            compare_law(law)
            if capacity_adu == 0:
                continue
            pocket = Pocket(law.drops, NO_FLAT, np.array(1.0))
            total = fill(law.drops, np.array(sky_adu))
            print(f"  in the sky the register holds {float(total):.0f} ADU")
            report("no law, flux terms", stars, fit(stars, NO_POCKET, tuple(FLUX_TERMS)))
            report("law, brighter_fatter", stars, fit(stars, pocket, ("brighter_fatter",)))


FLUX_TERMS = ("deferred_charge", "brighter_fatter")

if __name__ == "__main__":
    main([float(sky) for sky in sys.argv[1:]] or [80.0, 158.0, 300.0, 1000.0])
