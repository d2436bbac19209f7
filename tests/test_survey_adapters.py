"""From photometry tables to products and pictures; the star flat back on the pixels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from collect_survey import collect_survey
from matplotlib.image import imread
from plot_survey import plot_survey
from solve_survey import solve_survey
from ztfpsf.errors import InputError
from ztfpsf.focal_plane import SHAPE
from ztfpsf.io import open_product, read_table, write_table
from ztfpsf.star_flat import draw_response, read_star_flat, write_star_flat
from ztfpsf.survey.simulation import simulate_cells
from ztfpsf.survey.truth import Simulation, Truth, simulate_truth

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "config" / "config.yaml").read_text())
FLAGS = {
    "SATURATED": 1, "MASKED": 2, "CENTRE": 4, "EDGE": 8, "POSITION_HELD": 16,
    "POSITION_LIMIT": 32, "BLENDED": 64, "NOT_CONVERGED": 128, "NOT_MEASURED": 256,
}  # fmt: skip
SIMULATION = Simulation(
    ra_deg=(100.0, 112.0),
    dec_deg=(18.0, 30.0),
    visits=8.0,
    superpixels=3,
    stars_deg2=15.0,
    nights=3,
)


class Run:
    """Photometry and validation tables of a simulated survey, one unit per exposure."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truth: Truth = simulate_truth(SIMULATION)
        cells = list(simulate_cells(SIMULATION, self.truth))
        table = pd.concat([cell.measurements for cell in cells], ignore_index=True)
        stars = pd.concat([cell.stars for cell in cells], ignore_index=True).set_index("star_id")
        for name in ("ra_deg", "dec_deg"):
            table[name] = stars[name].loc[table["star_id"]].to_numpy()
        self.stars = stars
        self.photometry: list[str] = []
        self.verdicts: list[str] = []
        for number, rows in table.groupby("exposure"):
            self.write_unit(self.truth.exposures["name"][number], rows)

    def write_unit(self, name: str, rows: pd.DataFrame) -> None:
        ccd, quadrant = rows["rcid"] // 4 + 1, rows["rcid"] % 4 + 1
        images = [f"{name}_c{c:02d}_o_q{q}" for c, q in zip(ccd, quadrant, strict=True)]
        flux = 10.0 ** (-0.4 * rows["mag"].astype(float))
        photometry = rows[["ra_deg", "dec_deg", "x_px", "y_px"]].assign(
            image=images,
            flux_adu=flux,
            flux_error_adu=flux * rows["mag_error"] * np.log(10) / 2.5,
            n_neighbours=0,
            flags=0,
        )
        record = {"version": "0", "inputs": [], "settings": {"flags": FLAGS}}
        paths = [self.folder / f"{name}_{kind}.parquet" for kind in ("photometry", "images")]
        write_table(photometry, paths[0], record)
        verdicts = pd.DataFrame({"image": sorted(set(images)), "verdict": "good"})
        write_table(verdicts, paths[1], record)
        self.photometry.append(str(paths[0]))
        self.verdicts.append(str(paths[1]))

    def collect(self, n: int, **changes: Any) -> dict[str, Any]:
        collect_survey(
            paths_to_photometry=self.photometry[:n],
            paths_to_verdicts=self.verdicts[:n],
            path_to_dataset=str(self.folder / "zr"),
            path_to_record=str(self.folder / "collected.json"),
            filtercode="zr",
            settings={**CONFIG["collect_survey"], "min_snr": 5.0, **changes},
        )
        return json.loads((self.folder / "collected.json").read_text())

    def solve(self, **changes: Any) -> dict[str, Any]:
        settings = CONFIG["solve_survey"] | changes
        flat = {**settings["star_flat"], "superpixels": 3}
        solve_survey(
            path_to_dataset=str(self.folder / "zr"),
            **{f"path_to_{name}": str(self.folder / file) for name, file in PRODUCTS.items()},
            settings={**settings, "star_flat": flat},
            dask_scheduler=None,
            threads=1,
        )
        return json.loads((self.folder / PRODUCTS["record"]).read_text())


PRODUCTS = {
    "zero_points": "zr_zeropoints.parquet",
    "stars": "zr_stars.parquet",
    "star_flat": "zr_starflat.fits",
    "fields": "zr_fields.parquet",
    "record": "zr_solution.json",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("survey"))
    half = len(run.photometry) // 2
    run.collect(half)
    record = run.collect(len(run.photometry))
    assert record["n_kept"] > 20000
    run.solve()
    return run


def test_zero_points_of_the_product_are_those_of_the_simulation(run: Run) -> None:
    table = read_table(run.folder / PRODUCTS["zero_points"], "solve_survey")
    truth = run.truth.exposures.set_index("name").loc[table["name"]]
    ok = (table["status"] == "ok").to_numpy()
    assert 0.9 < ok.mean() <= 1
    sums = table["zero_point_mag"].to_numpy() + truth["zero_point_mag"].to_numpy()
    assert (sums[ok] - sums[ok].mean()).std() < 0.003
    assert (table["zero_point_error_mag"][ok] < 0.01).all()
    np.testing.assert_allclose(table["airmass"], truth["airmass"], rtol=1e-4)
    assert (table["n_stars"][ok] > 100).all()


def test_stars_of_the_product_are_those_of_the_simulation(run: Run) -> None:
    table = read_table(run.folder / PRODUCTS["stars"], "solve_survey")
    order = np.argsort(run.stars["dec_deg"].to_numpy())
    near = np.searchsorted(run.stars["dec_deg"].to_numpy()[order], table["dec_deg"] - 1e-7)
    truth = run.stars.iloc[order[near]]
    np.testing.assert_allclose(table["dec_deg"], truth["dec_deg"], atol=2e-7)
    constant = ~table["is_variable"].to_numpy() & (table["n_used"] > 3).to_numpy()
    difference = (table["mag"].to_numpy() - truth["true_mag"].to_numpy())[constant]
    # Stars were given colours that the run does not know: colour terms are in the scatter.
    pulls = (difference - np.median(difference)) / table["mag_error"].to_numpy()[constant]
    assert 0.7 < np.median(np.abs(pulls)) / 0.6745 < 1.6
    varies = truth["variable_mag"].to_numpy() > 0
    assert table["is_variable"][varies & (table["n_used"] + table["n_rejected"] > 5)].mean() > 0.9
    assert table["is_variable"][~varies].mean() < 0.01
    # Without a reference catalogue.
    assert not table["is_anchored"].any()


def test_measurements_may_stay_on_disk(run: Run) -> None:
    before = read_table(run.folder / PRODUCTS["zero_points"], "solve_survey")
    run.solve(memory_gb=0.0)
    after = read_table(run.folder / PRODUCTS["zero_points"], "solve_survey")
    pd.testing.assert_frame_equal(after, before)
    # Nothing is left of it.
    assert {path.name for path in (run.folder / "zr").iterdir()} <= {
        "cells", "exposures.parquet", "images.parquet",
    }  # fmt: skip


def test_the_record_says_what_is_missing(run: Run) -> None:
    record = json.loads((run.folder / PRODUCTS["record"]).read_text())
    assert "No star has a colour" in record["notes"][0]
    assert record["chi2_per_dof"] == pytest.approx(1.0, abs=0.1)
    assert record["n_components"] == 1
    assert record["gradient_mmag_deg"]["to_north_error"] > 0
    assert max(record["iterations"]) <= 20
    assert record["iterations"][-1] <= 10


def test_star_flat_of_the_product(run: Run) -> None:
    path = run.folder / PRODUCTS["star_flat"]
    flat = read_star_flat(path, 59000.0)
    with open_product(path, "solve_survey") as hdus:
        error = np.asarray(hdus["ERROR"].data, float)[0]
    assert flat.mean() == pytest.approx(0.0, abs=1e-6)
    # Four fields hold a star flat together loosely: a few patterns rule all its errors.
    assert 0.5 < ((flat - run.truth.star_flat) / error).std() < 1.5
    assert np.median(error) < 0.01
    with pytest.raises(InputError, match="the first starts at 0"):
        read_star_flat(run.folder / PRODUCTS["star_flat"], -1.0)


def test_pictures_are_drawn(run: Run) -> None:
    pictures = {
        f"path_to_{name}_picture": str(run.folder / f"{name}.png")
        for name in ("zero_point", "star_flat", "residual", "field")
    }
    paths = {f"path_to_{name}": str(run.folder / file) for name, file in PRODUCTS.items()}
    plot_survey(**paths, **pictures, filtercode="zr")
    for path in pictures.values():
        assert imread(path)[..., :3].std() > 0.05


def test_no_measurement_is_one_sentence(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="passes the cuts of collect_survey"):
        run.collect(1, dataset=None, min_snr=1e9)


def test_response_of_a_star_flat(tmp_path: Path) -> None:
    flat = np.random.default_rng(1).normal(0, 0.01, (1, 64, 3, 3))
    write_star_flat(tmp_path / "a.fits", flat, flat, flat[0], [58000.0], {
        "version": "0", "inputs": [], "settings": {},
    })  # fmt: skip
    read = read_star_flat(tmp_path / "a.fits", 59000.0)
    ny, nx = SHAPE
    response = draw_response(read, 21, (0, ny))
    assert response.shape == (ny, nx)
    assert response[0, -1] == pytest.approx(10 ** (-0.4 * flat[0, 21, 0, 2]), rel=1e-6)
    assert response[-1, 0] == pytest.approx(10 ** (-0.4 * flat[0, 21, 2, 0]), rel=1e-6)
    np.testing.assert_array_equal(draw_response(read, 21, (100, 200)), response[100:200])
