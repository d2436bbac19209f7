"""Simulated surveys, solved: recovered within errors, which are those of the exact inverse."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from surveys import NO_INSTRUMENT, PATCH, Solved, make_problem, solve, solve_cells
from ztfpsf.survey import space
from ztfpsf.survey.design import QUADRANT
from ztfpsf.survey.errors import find_gradient, find_weak_modes, invert
from ztfpsf.survey.judgement import Robust
from ztfpsf.survey.rounds import fit_survey
from ztfpsf.survey.simulation import simulate_cells
from ztfpsf.survey.terms import Terms
from ztfpsf.survey.truth import Simulation, simulate_truth

ZERO_POINTS = Simulation(**PATCH, **NO_INSTRUMENT, stars_deg2=12.0)
INSTRUMENT = Simulation(**PATCH, stars_deg2=12.0)
ALL_TERMS = Terms(superpixels=3, star_flat_mag=0.05, colour_mag=0.05, airmass_mag=0.3)


@pytest.fixture(scope="module")
def zero_points() -> Solved:
    return solve(ZERO_POINTS, Terms())


@pytest.fixture(scope="module")
def instrument() -> Solved:
    return solve(INSTRUMENT, ALL_TERMS)


def within_fields(solved: Solved) -> np.ndarray:
    """Pulls of exposures from the mean of their field, of clear ones in fields with many."""
    group, difference = solved.group, solved.difference_mag
    n = np.bincount(group)[group]
    mean = (np.bincount(group, difference) / np.bincount(group))[group]
    own = solved.fit.inverse[:-1, 0, 0][solved.is_fitted]
    weight = (1.0 / np.bincount(group, 1.0 / own))[group]
    clear = solved.truth.exposures["patchiness_mag"][solved.is_fitted] < 0.001
    use = (n > 3) & clear
    return ((difference - mean) / np.sqrt(own - weight, where=n > 1, out=np.ones(len(n))))[use]


def test_zero_points_are_recovered_within_their_errors(zero_points: Solved) -> None:
    pulls = within_fields(zero_points)
    assert len(pulls) > 150
    assert pulls.std() == pytest.approx(1.0, abs=2.5 / np.sqrt(2 * len(pulls)))
    assert zero_points.error_mag.max() < 0.001
    assert zero_points.difference_mag.std() < 0.0005
    overall = zero_points.difference_mag / zero_points.error_mag
    assert np.sqrt(np.mean(overall**2)) == pytest.approx(1.0, abs=0.2)


def test_ten_iterations_are_enough(zero_points: Solved, instrument: Solved) -> None:
    assert max(zero_points.fit.iterations) <= 10
    assert max(instrument.fit.iterations) <= 12
    assert zero_points.fit.change_mag < 1e-5


def test_scatter_beyond_the_errors_is_found(zero_points: Solved) -> None:
    bins = np.unique(zero_points.fit.weights.kept[0].magnitude_bin)
    scatter = zero_points.fit.weights.scatter_mag[bins]
    # Patchy clouds add a little.
    assert np.median(scatter) == pytest.approx(ZERO_POINTS.scatter_mag, rel=0.06)
    np.testing.assert_allclose(scatter, ZERO_POINTS.scatter_mag, rtol=0.15)


def test_thick_clouds_are_left_out(zero_points: Solved) -> None:
    thick = zero_points.truth.exposures["is_thick"].to_numpy()
    bad = zero_points.fit.bad_units[:-1]
    assert thick.any()
    assert bad[thick].all()
    assert bad.mean() < 0.05
    # They have a zero point all the same, from the stars of the others.
    fitted = zero_points.units.layout.split(zero_points.fit.unknowns)[0][:-1, 0]
    difference = fitted - zero_points.truth.exposures["zero_point_mag"]
    assert np.abs(difference[bad] - difference[~bad].mean()).max() < 0.05


def test_variable_stars_and_outliers_change_nothing_beyond_the_errors() -> None:
    calm = replace(ZERO_POINTS, variable_fraction=0.0, outlier_fraction=0.0)
    pulls = within_fields(solve(calm, Terms()))
    wild = within_fields(
        solve(replace(calm, variable_fraction=0.03, outlier_fraction=0.02), Terms())
    )
    assert wild.std() == pytest.approx(pulls.std(), abs=0.1)


def test_star_flat_colour_terms_and_extinction_are_recovered(instrument: Solved) -> None:
    truth, layout = instrument.truth, instrument.units.layout
    common = layout.split(instrument.fit.unknowns)[1]
    errors = layout.split(np.append(np.zeros(layout.n_of_units), instrument.covariance.common))[1]
    flat = common.star_flat - truth.star_flat.ravel()
    assert flat.std() < 0.0015
    assert (flat / errors.star_flat).std() == pytest.approx(1.0, abs=0.3)
    colour = common.colour[:64] - (truth.colour - truth.colour.mean())
    assert (colour / errors.colour[:64]).std() == pytest.approx(1.0, abs=0.3)
    assert abs(common.airmass[0] - INSTRUMENT.airmass_mag) < 4 * errors.airmass[0] < 0.02
    assert within_fields(instrument).std() == pytest.approx(1.0, abs=0.15)


def exact_errors(solved: Solved) -> np.ndarray:
    """From the inverse of the whole normal matrix: zero points, then common terms."""
    layout, normal = solved.units.layout, solved.fit.normal
    matrix = np.stack([normal.multiply(row) for row in np.eye(layout.size)])
    use = np.append(normal.is_fitted, np.ones(layout.n_common, bool))
    matrix = matrix[np.ix_(use, use)]
    n = int(normal.is_fitted.sum())
    null = np.append(np.full(n, n**-0.5), np.zeros(layout.n_common))
    inverse = np.linalg.inv(matrix + 1e5 * np.outer(null, null)) - np.outer(null, null) / 1e5
    # The convention of ztfpsf.survey.gauge, as a matrix.
    settle = np.eye(len(matrix))
    flat, colour = slice(n, n + 576), slice(n + 576, n + 640)
    settle[:n, flat] += 1 / 576
    settle[flat, flat] -= 1 / 576
    settle[n + 576 :, colour] -= 1 / 64
    centre = np.eye(len(matrix))
    centre[:n, :n] -= 1 / n
    return np.sqrt(np.diagonal(centre @ settle @ inverse @ settle.T @ centre.T))


SMALL = Simulation(
    ra_deg=(100.0, 118.0), dec_deg=(10.0, 28.0), visits=6.0, superpixels=3, airmass_mag=0.0,
    stars_deg2=6.0,
)  # fmt: skip


@pytest.mark.parametrize(("max_exact", "tolerance"), [(2000, 0.01), (64, 0.15)])
def test_errors_are_those_of_the_exact_inverse(
    monkeypatch: pytest.MonkeyPatch, max_exact: int, tolerance: float
) -> None:
    """With every superpixel in the coarse matrix, and with polynomials of them."""
    monkeypatch.setattr(space, "MAX_EXACT", max_exact)
    monkeypatch.setattr(space, "DEGREE", 2)
    terms = replace(ALL_TERMS, airmass_mag=0.0)
    solved = solve(SMALL, terms)
    n = int(solved.fit.normal.is_fitted.sum())
    exact = exact_errors(solved)
    np.testing.assert_allclose(solved.error_mag, exact[:n], rtol=tolerance)
    np.testing.assert_allclose(np.median(solved.covariance.common / exact[n:]), 1.0, atol=tolerance)


def test_polynomials_of_exposures_are_recovered() -> None:
    simulation = replace(ZERO_POINTS, slope_mag=0.01)
    solved = solve(simulation, Terms(degree=1))
    slopes = solved.units.layout.split(solved.fit.unknowns)[0][:-1, 1:][solved.is_fitted]
    truth = solved.truth.exposures[["slope_east_mag", "slope_north_mag"]][solved.is_fitted]
    group = solved.group
    difference = slopes - truth.to_numpy()
    for column in difference.T:
        mean = (np.bincount(group, column) / np.bincount(group))[group]
        assert (column - mean).std() < 0.0006
        assert column.std() < 0.002
    assert solved.fit.polynomial_mag == pytest.approx(0.011, rel=0.2)


def test_quadrants_may_have_zero_points_of_their_own() -> None:
    simulation = replace(SMALL, star_flat_mag=0.0, colour_mag=0.0, stars_deg2=40.0)
    solved = solve(simulation, Terms(), QUADRANT)
    truth = np.repeat(solved.truth.exposures["zero_point_mag"].to_numpy(), 64)[solved.is_fitted]
    group = solved.group
    n = np.bincount(group)[group]
    difference = solved.zero_point_mag - truth
    difference -= (np.bincount(group, difference) / np.bincount(group))[group]
    own = solved.fit.inverse[:-1, 0, 0][solved.is_fitted]
    own -= (1.0 / np.bincount(group, 1.0 / own))[group]
    pulls = difference[n > 4] / np.sqrt(own[n > 4])
    assert np.median(np.abs(pulls)) / 0.6745 == pytest.approx(1.0, abs=0.1)


def test_an_injected_gradient_is_recovered_within_twice_its_error() -> None:
    simulation = replace(INSTRUMENT, gradient_mag_deg=0.005)
    solved = solve(simulation, ALL_TERMS)
    groups, group = solved.fit.coarse.space.groups, solved.group
    n = np.bincount(group)
    fields = solved.truth.exposures.drop_duplicates("field").set_index("field").loc[groups.field]
    position = fields["ra_deg"].to_numpy(), fields["dec_deg"].to_numpy()
    covariance = solved.covariance.zero_points
    fitted = np.bincount(group, solved.zero_point_mag) / n
    true = solved.truth.exposures["zero_point_mag"].to_numpy()[solved.is_fitted]
    found = find_gradient(fitted, covariance, *position)
    put_in = find_gradient(np.bincount(group, true) / n, covariance, *position)
    assert put_in.to_north == pytest.approx(0.005, abs=0.003)
    assert abs(found.to_north - put_in.to_north) < 2 * found.to_north_error
    assert abs(found.to_east - put_in.to_east) < 2 * found.to_east_error
    # A star flat and a sky that lean the same way: the weakest mode is a gradient.
    modes = find_weak_modes(solved.covariance)
    assert modes.error_mag[0] > 3 * np.median(modes.error_mag)
    assert abs(np.corrcoef(modes.pattern[0], position[1])[0, 1]) > 0.9


def test_fields_without_stars_in_common_have_zeros_of_their_own() -> None:
    simulation = replace(ZERO_POINTS, ra_deg=(20.0, 40.0), seed=2)
    truth = simulate_truth(simulation)
    cells = list(simulate_cells(simulation, truth))
    fields = truth.exposures["field"].to_numpy()
    north = truth.exposures["dec_deg"].to_numpy() > 22.0
    gap = [
        cell._replace(
            measurements=cell.measurements[
                north[cell.measurements["exposure"]] == (cell.cell // 1000 * 4 - 90 >= 22)
            ]
        )
        for cell in cells
    ]
    solved = solve_cells(truth, [cell for cell in gap if len(cell.measurements)], Terms())
    groups = solved.fit.coarse.space.groups
    side = {field: bool(is_north) for field, is_north in zip(fields, north, strict=True)}
    components = {(side[field], c) for field, c in zip(groups.field, groups.component, strict=True)}
    main = {c for is_north, c in components if is_north} & {c for s, c in components if not s}
    assert not main
    component = groups.component[solved.group]
    for name in np.unique(component):
        assert abs(solved.zero_point_mag[component == name].mean()) < 1e-9
    assert np.isfinite(solved.error_mag).all()


def test_a_reference_catalogue_sets_the_zero() -> None:
    truth = simulate_truth(ZERO_POINTS)
    random = np.random.default_rng(3)
    cells = [
        cell._replace(
            stars=cell.stars.assign(
                reference_mag=np.where(
                    random.random(len(cell.stars)) < 0.3,
                    cell.stars["true_mag"] + random.normal(0, 0.01, len(cell.stars)),
                    np.nan,
                ),
                reference_error_mag=0.01,
            )
        )
        for cell in simulate_cells(ZERO_POINTS, truth)
    ]
    solved = solve_cells(truth, cells, Terms())
    groups = solved.fit.coarse.space.groups
    assert (groups.component == -1).all()
    assert (groups.is_anchored[:-1] == solved.is_fitted).all()
    difference = solved.zero_point_mag - truth.exposures["zero_point_mag"][solved.is_fitted]
    assert np.abs(difference).max() < 0.004
    assert abs(difference.mean()) < 4 * 0.01 / np.sqrt(0.3 * sum(len(c.stars) for c in cells))


def test_measurements_without_errors_are_left_out(zero_points: Solved) -> None:
    truth = zero_points.truth
    cells = list(simulate_cells(ZERO_POINTS, truth))
    table = cells[0].measurements
    broken = table.assign(mag_error=np.float32(np.inf), mag=np.float32(5.0))
    both = [cells[0]._replace(measurements=pd.concat([broken, table])), *cells[1:]]
    _, with_broken = make_problem(truth, both, Terms())
    fit = fit_survey(with_broken, Robust())
    np.testing.assert_allclose(fit.unknowns, zero_points.fit.unknowns, rtol=0, atol=1e-9)
    assert np.isfinite(invert(fit).coarse).all()
