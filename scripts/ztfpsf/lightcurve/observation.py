"""All that is known of the exposures that see a target: groups, PSFs, stamps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.errors import InputError
from ztfpsf.group.tables import read_maps_table
from ztfpsf.io import read_table
from ztfpsf.lightcurve.assembly import (
    NO_STAMP,
    NOT_HELD,
    Cubes,
    Exposures,
    choose_stars,
    make_scene,
    read_cubes,
)
from ztfpsf.lightcurve.scene import OK, Scene
from ztfpsf.lightcurve.sights import (
    Group,
    Sights,
    Tie,
    find_sights,
    find_status,
    order_groups,
    tie_groups,
)
from ztfpsf.psf import Psf
from ztfpsf.psf.product.file import load_psfs
from ztfpsf.stamps import open_stamps
from ztfpsf.units import group_of

# Stamps of the target have its place to the last digit.
SAME_PLACE_ARCSEC = 0.01


class Paths(NamedTuple):
    """Products that a light curve is made of, a file for each group or unit."""

    exposures: Sequence[str]  # of groups
    maps: Sequence[str]
    ratios: Sequence[str]
    stars: Sequence[str]
    targets: Sequence[str]  # of units
    stamps: Sequence[str]
    psf: Sequence[str]


class Observation(NamedTuple):
    """The E exposures that see a target, or may have seen it."""

    groups: list[Group]
    ties: list[Tie]
    kept: np.ndarray  # (n,) rows of the groups' exposures, one after the other, in order of time
    exposures: Exposures  # of these rows

    def find_sights(self, thing: pd.Series) -> Sights:
        """As ztfpsf.lightcurve.sights.find_sights, of the exposures that are kept."""
        sights = find_sights(self.groups, self.ties, thing)
        return Sights(*(values[self.kept] for values in sights))


def observe(
    paths: Paths, target: Mapping[str, Any], match_arcsec: float, verdicts: Sequence[str]
) -> tuple[Observation, Scene, Sights]:
    """The exposures that see a target, a row of the sheet but for its filters, and its scene.

    Images whose world coordinates have it elsewhere are left out; those that failed are not.
    `verdicts`: of PSFs that may be used. Raises InputError where no image holds the target.
    """
    files = zip(paths.exposures, paths.maps, paths.ratios, paths.stars, strict=True)
    groups = order_groups([read_group(*of_group) for of_group in files])
    ties = tie_groups(groups, match_arcsec)
    table = pd.concat([group.exposures for group in groups], ignore_index=True)
    thing = make_thing(target)
    stamps = [open_stamps(path, "cut_targets") for path in paths.targets]
    cubes = read_cubes(stamps, table, pd.DataFrame([thing]), SAME_PLACE_ARCSEC)
    told = pd.concat([file.images for file in stamps]).drop_duplicates("image")
    cut = table["image"].map(told.set_index("image")["status"]).fillna("the image was not cut.")
    is_held = np.isfinite(cubes.sky_adu[0])
    if not is_held.any():
        raise InputError(
            f"target '{target['name']}' at RA {target['ra_deg']:.5f}, Dec {target['dec_deg']:.5f} "
            f"deg is on none of {len(table)} images near it; correct its position, or take it out."
        )
    seen = np.flatnonzero(is_held | (cut != OK).to_numpy())
    kept = seen[np.argsort(table["mjd"].to_numpy()[seen], kind="stable")]
    status = [
        reason if reason != OK else one
        for reason, one in zip(find_status(groups, ties, verdicts), cut, strict=True)
    ]
    images = table["image"].iloc[kept]
    exposures = Exposures(
        table.iloc[kept].reset_index(drop=True),
        read_psfs(paths.psf, images),
        [status[row] for row in kept],
    )
    observation = Observation(groups, ties, kept, exposures)
    mjd = exposures.table["mjd"]
    baseline = ~mjd.between(target["mjd_min"], target["mjd_max"]).to_numpy()
    sights, mine = observation.find_sights(thing), Cubes(*(array[:, kept] for array in cubes))
    scene = make_scene(target["name"], mine, 0, exposures, sights, baseline, NOT_HELD)
    return observation, scene, sights


def make_thing(target: Mapping[str, Any]) -> pd.Series:
    """A target as an object that rests; its colour is that of the stars where it is not known."""
    rest = {"epoch_mjd": 0.0, "pmra_mas_yr": 0.0, "pmdec_mas_yr": 0.0}
    known = {name: target[name] for name in ("ra_deg", "dec_deg", "colour_mag")}
    return pd.Series({**known, **rest}, dtype=float)


def read_psfs(paths: Sequence[str], images: pd.Series) -> list[Psf | None]:
    """The PSF of each image, None without one."""
    wanted = set(images)
    found: dict[str, Psf] = {}
    for path in paths:
        found |= load_psfs(path, wanted)
    return [found.get(image) for image in images]


def read_group(
    path_to_exposures: str, path_to_maps: str, path_to_ratios: str, path_to_stars: str
) -> Group:
    """The products of one group."""
    exposures = read_table(path_to_exposures, "match_stars")
    return Group(
        group_of(str(exposures["image"].iloc[0])),
        exposures,
        read_maps_table(read_table(path_to_maps, "fit_maps")),
        read_table(path_to_ratios, "solve_ratios"),
        read_table(path_to_stars, "solve_ratios"),
    )


def find_stars(
    observation: Observation,
    paths: Paths,
    target: Mapping[str, Any],
    n_stars: int,
    match_arcsec: float,
) -> tuple[pd.DataFrame, Iterator[tuple[Scene, Sights]]]:
    """Stars around a target, as `choose_stars` finds them, and their scenes one after the other."""
    stars = choose_stars(
        observation.groups, target["ra_deg"], target["dec_deg"], n_stars, match_arcsec
    )
    exposures = observation.exposures
    files = [open_stamps(path) for path in paths.stamps]
    cubes = read_cubes(files, exposures.table, stars, match_arcsec)
    shines = np.zeros(len(exposures.table), bool)

    def make_scenes() -> Iterator[tuple[Scene, Sights]]:
        for number, (_, star) in enumerate(stars.iterrows()):
            sights = observation.find_sights(star)
            name = star["name"]
            yield make_scene(name, cubes, number, exposures, sights, shines, NO_STAMP), sights

    return stars, make_scenes()
