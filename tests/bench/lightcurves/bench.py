"""Light curves of simulated supernovae in galaxies, ours and others', against the truth.

    python tests/bench/lightcurves/bench.py <python of the peers> <folder> [--epochs 120]

Writes <folder>/lightcurves.md. Twice the same field: with PSFs that are known, and with PSFs,
shifts and ratios from the stars. Forced photometry by photutils and by a matched filter gets the
fitted PSFs and the same pixels. At last the cost of a target and 50 stars in 1000 exposures.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from epochs import N_STARS, SKY_ADU, TARGETS, Epochs, make_light_curve, simulate
from judge import judge, judge_forced, judge_star
from reduction import Reduced, forget_colours, know, make_scene, reduce
from ztfpsf.lightcurve.fit import fit_scenes
from ztfpsf.lightcurve.scene import LightCurve, Scene, SceneSettings
from ztfpsf.psf import Psf
from ztfpsf.psf.product.sampling import draw_oversampled

HERE = Path(__file__).parent
TARGET = SceneSettings()
STAR = SceneSettings(host_radius_px=0.0, position_error_arcsec=0.05, n_rounds=2)
EQUAL = 8  # stars of the brightness of the supernovae at their peak
OVERSAMPLING = 4
HOST = ["host_mag", "sersic", "radius_px", "distance"]


def fit(epochs: Epochs, reduced: Reduced, numbers: Sequence[int]) -> list[LightCurve]:
    settings = STAR if numbers[0] < N_STARS else TARGET
    return list(fit_scenes([make_scene(epochs, reduced, k) for k in numbers], settings))


def compare_stars(epochs: Epochs, reduced: Reduced) -> pd.DataFrame:
    """Stars against the truth, one row each; the first EQUAL of them set the scale."""
    stars = fit(epochs, reduced, range(2 * EQUAL))
    noise = [make_scene(epochs, quiet(reduced), k) for k in range(2 * EQUAL)]
    own = [found.flux_error_adu for found in fit_scenes(noise, STAR)]
    flux = epochs.flux_adu[0]
    return pd.DataFrame(
        [
            judge_star(found, flux[k], 26.2 - 2.5 * np.log10(flux[k]), own[k])
            for k, found in enumerate(stars)
        ]
    )


def compare(epochs: Epochs, reduced: Reduced, scale: float) -> pd.DataFrame:
    """Supernovae against the truth, one row each; `scale`: of fluxes, from the stars."""
    baseline = make_light_curve(len(epochs.data))[1]
    numbers = range(N_STARS, N_STARS + len(TARGETS))
    rows = [
        judge(found, scale * epochs.flux_adu[:, k], baseline)
        for k, found in zip(numbers, fit(epochs, reduced, numbers), strict=True)
    ]
    return pd.DataFrame(TARGETS, columns=HOST).join(pd.DataFrame(rows))


def quiet(reduced: Reduced) -> Reduced:
    """Without errors of ratio and place."""
    return reduced._replace(
        sights=[
            one._replace(
                position_error_px=np.zeros_like(one.position_error_px),
                ratio_error_mag=np.zeros_like(one.ratio_error_mag),
            )
            for one in reduced.sights
        ]
    )


def force(
    epochs: Epochs, reduced: Reduced, scale: float, python: str, folder: Path
) -> pd.DataFrame:
    """photutils and a matched filter; `scale`: of fluxes, from the stars."""
    numbers = np.arange(N_STARS, N_STARS + len(TARGETS))
    baseline = make_light_curve(len(epochs.data))[1]
    half = epochs.data.shape[-1] // 2
    place = np.stack([reduced.sights[k].position_px for k in numbers], axis=1)
    at = place - epochs.corner_px[:, numbers]
    data = epochs.data[:, numbers] - SKY_ADU
    sigma = np.array(
        [np.sqrt(SKY_ADU / p.noise.gain + p.noise.constant_adu2) for p in reduced.psfs]
    )
    middle = np.array([512.0])
    pictures = [draw_oversampled(p, middle, middle, OVERSAMPLING, half)[0] for p in reduced.psfs]
    request, fluxes = folder / "request.npz", folder / "fluxes.npz"
    psf = np.stack(pictures)
    np.savez(request, data=data, at=at, sigma=sigma, psf=psf, oversampling=OVERSAMPLING)
    subprocess.run([python, HERE / "run_photutils.py", request, fluxes], check=True)
    answer = np.load(fluxes)
    rows = []
    for row, k in enumerate(numbers):
        ratio = 10 ** (-0.4 * reduced.sights[k].ratio_mag)
        true = scale * epochs.flux_adu[:, k]
        seen = zip(data[:, row], reduced.psfs, place[:, row], epochs.corner_px[:, k], strict=True)
        filtered = [match(*one) for one in seen]
        theirs = judge_forced(answer["flux"][:, row] / ratio, true, baseline)
        rows.append([*theirs, *judge_forced(filtered / ratio, true, baseline)])
    code = str(answer["code"])
    columns = [f"{name} {what}" for name in (code, "filter") for what in ("bias", "scatter")]
    return pd.DataFrame(TARGETS, columns=HOST).join(pd.DataFrame(rows, columns=columns))


def match(stamp: np.ndarray, psf: Psf, place: np.ndarray, corner: np.ndarray) -> float:
    """Flux by the PSF as a filter of sky noise; the level of the sky is known."""
    size = stamp.shape[-1]
    wide = psf.stamp(*place, size + 2, 0.0)
    # A place that is measured may be nearest to another pixel than the middle of the stamp.
    column, row = corner - np.floor(place + 0.5).astype(int) + (size + 2) // 2
    picture = wide[row : row + size, column : column + size]
    return float((picture * stamp).sum() / (picture**2).sum())


def cost(epochs: Epochs, reduced: Reduced, n: int = 1000, n_stars: int = 50) -> str:
    """One target and stars, exposures repeated; in a process that has compiled already."""
    rows = np.arange(n) % len(epochs.data)

    def repeat(k: int) -> Scene:
        scene = make_scene(epochs, reduced, k)
        psfs = [scene.psfs[row] for row in rows]
        fields = {name: np.asarray(getattr(scene, name))[rows] for name in scene._fields[1:-2]}
        return scene._replace(**fields, psfs=psfs, status=["ok"] * n)

    begun = os.times()
    (_,) = fit_scenes([repeat(N_STARS + 4)], TARGET)
    middle = os.times()
    first = repeat(0)
    stars = (repeat(k)._replace(psfs=first.psfs) for k in range(n_stars))
    for _ in fit_scenes(stars, STAR):
        pass
    ended = os.times()
    target_s = middle.user + middle.system - begun.user - begun.system
    stars_s = ended.user + ended.system - middle.user - middle.system
    memory_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return (
        f"A target in {n} exposures takes {target_s:.1f} CPU seconds, {n_stars} stars "
        f"{stars_s:.1f}; peak memory {memory_gb:.2f} GB."
    )


def write(folder: Path, parts: list[tuple[str, pd.DataFrame | str]]) -> None:
    text = []
    for title, part in parts:
        body = part if isinstance(part, str) else _tabulate(part)
        text.append(f"## {title}\n\n{body}\n")
    (folder / "lightcurves.md").write_text("\n".join(text))
    print("\n".join(text), flush=True)


def _tabulate(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(f"{value:.3g}" for value in row) + " |" for row in table.to_numpy()]
    return "\n".join(lines)


def by_host(table: pd.DataFrame) -> pd.DataFrame:
    """Means of the supernovae in equal hosts; of pulls, the root of the mean square."""
    pulls = [name for name in table if str(name).startswith("pull_")]
    squared = table.assign(**{name: table[name] ** 2 for name in pulls})
    mean = squared.groupby(HOST, sort=False).mean()
    mean[pulls] = np.sqrt(mean[pulls])
    if "bias_error_mmag" in mean:
        mean["bias_error_mmag"] /= np.sqrt(len(table) / len(mean))
    return mean.reset_index()


def summarise(table: pd.DataFrame) -> str:
    """Bias of all supernovae together, and their pulls."""
    weight = table["bias_error_mmag"] ** -2
    bias = (weight * table["bias_mmag"]).sum() / weight.sum()
    means = np.append(table["bias_mmag"] / table["bias_error_mmag"], table["pull_mean"])
    pulls = {
        name: np.sqrt((table[f"pull_{name}"] ** 2).mean())
        for name in ("bright", "zero", "probe", "all")
    }
    return (
        f"Bias {bias:.2f} +- {weight.sum() ** -0.5:.2f} mmag; chi2 {table['chi2'].mean():.3f}; "
        f"pulls: bright {pulls['bright']:.3f}, without light {pulls['zero']:.3f} (mean "
        f"{table['mean_zero'].mean():.3f}; with the covariance {pulls['all']:.3f}), outside the "
        f"dates {pulls['probe']:.3f}, weighted means {np.sqrt(np.mean(means**2)):.2f}."
    )


def describe_maps(reduced: Reduced) -> str:
    """Refraction and scatter of the maps."""
    if reduced.group is None:
        return "known"
    maps = reduced.group.maps
    return (
        f"Refraction {maps.refraction.arcsec_per_mag:.4f} +- {maps.refraction.error:.4f} "
        f"arcsec/mag; scatter {np.median([one.rms_px for one in maps.maps]):.4f} px; degrees "
        f"{sorted({one.degree for one in maps.maps})}."
    )


def main(python: str, folder: Path, n_epochs: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[tuple[str, pd.DataFrame | str]] = []
    for title, kind in (("PSFs known", "moffat"), ("PSFs fitted", "galsim")):
        epochs = simulate(n_epochs, 1, kind)
        reduced = know(epochs) if kind == "moffat" else reduce(epochs, "moffat_grid", folder)
        stars = compare_stars(epochs, reduced)
        scale = stars["factor"][:EQUAL].mean()
        supernovae = compare(epochs, reduced, scale)
        parts += [(title, by_host(supernovae)), (f"{title}: all", summarise(supernovae))]
        parts += [(f"{title}: stars", stars), (f"{title}: maps", describe_maps(reduced))]
        write(folder, parts)
    unknown = compare(epochs, forget_colours(epochs, reduced), scale)
    parts += [("Colours of the supernovae unknown: all", summarise(unknown))]
    begun = time.perf_counter()
    parts += [("Others", by_host(force(epochs, reduced, scale, python, folder)))]
    print(f"others: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    parts += [("Cost", cost(epochs, reduced))]
    write(folder, parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", help="of an environment with photutils")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=120)
    given = parser.parse_args()
    main(given.python, given.folder, given.epochs)
