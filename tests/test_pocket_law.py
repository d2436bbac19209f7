"""The law of the pocket: what it does to rows, its inverse, its direction."""

import jax.numpy as jnp
import numpy as np
import pytest
from ztfpsf.pocket.flat import draw_flat
from ztfpsf.pocket.law import (
    KNOTS_ADU,
    N_DROPS,
    NO_POCKET,
    LocalPocket,
    Pocket,
    basis,
    capacity_adu,
    defer_plane,
    deferred,
    fill,
    forward,
    invert,
    keep,
    slope,
)
from ztfpsf.simulation.pocket import defer, make_catch

# The pocket of a quadrant of ZTF, as measured: L(160), L(300), ... of docs/pocket.md.
DROPS = np.array([0.02, 0.11, 0.19, 0.2, 0.19, 0.09, 0.09, 0.05, 0.02, 0.01, 0.005])
T_ADU = np.linspace(0.0, 4000.0, 4001)


def make_rows(seed: int, n: int = 40, width: int = 30) -> np.ndarray:
    """Rows of sky and stars, (n, width) ADU."""
    random = np.random.default_rng(seed)
    return random.choice([3.0, 80.0, 160.0, 900.0, 4e4], (n, width)) * random.uniform(
        0.5, 1.5, (n, width)
    )


def test_law_is_monotone_concave_and_ends_full():
    kept = keep(DROPS, T_ADU)
    steps = np.diff(kept)
    assert kept[0] == 0
    assert (steps >= -1e-12).all()
    assert (np.diff(steps) <= 1e-9).all()
    assert kept[-1] == pytest.approx(capacity_adu(DROPS))
    np.testing.assert_allclose(steps, slope(DROPS, T_ADU[:-1] + 0.5), atol=1e-9)
    np.testing.assert_allclose(basis(T_ADU) @ DROPS, kept, atol=1e-9)


def test_no_charge_is_lost():
    rows = np.pad(make_rows(1), ((0, 0), (0, 400)))
    observed = forward(DROPS, rows, 0.0)
    np.testing.assert_allclose(observed.sum(axis=1), rows.sum(axis=1), rtol=1e-6)
    assert (observed[:, 0] < rows[:, 0]).all()


def test_inverse_is_exact():
    rows = make_rows(2)
    np.testing.assert_allclose(invert(DROPS, forward(DROPS, rows, 0.0), 0.0), rows, rtol=1e-9)


def test_a_long_row_of_sky_is_read_as_it_is():
    sky = np.full((1, 200), 158.0)
    observed = forward(DROPS, sky, 0.0)
    assert observed[0, -1] == pytest.approx(158.0)
    held = keep(DROPS, fill(DROPS, np.array(158.0)))
    # What the first columns lack is what the pocket holds.
    assert (sky - observed).sum() == pytest.approx(held)
    np.testing.assert_allclose(forward(DROPS, sky, held), sky)


@pytest.mark.parametrize("direction", [1, -1])
def test_deferred_is_the_law_in_the_middle_of_a_row(direction):
    rows = np.full((2, 40), 158.0)
    rows[:, 20:22] = 3000.0
    held = keep(DROPS, fill(DROPS, np.array(158.0)))
    expected = forward(DROPS, rows[:, ::direction], held)[:, ::direction] - rows
    found = deferred(LocalPocket(DROPS, 1.0, direction), jnp.asarray(rows))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    # The other direction is another one: the trail lies behind the star.
    other = deferred(LocalPocket(DROPS, 1.0, -direction), jnp.asarray(rows))
    assert np.abs(np.asarray(found) - np.asarray(other)).max() > 10


@pytest.mark.parametrize("direction", [1, -1])
def test_planes_are_read_out_by_the_same_law(direction):
    rows = 158.0 + make_rows(5, 30, 50)
    pocket = LocalPocket(DROPS, 0.9, direction)
    expected = np.asarray(deferred(pocket, jnp.asarray(rows)))
    np.testing.assert_allclose(defer_plane(pocket, rows), expected, atol=0.05)


def test_the_flat_is_undone():
    """Charge is held as it comes, and divided by the flat afterwards."""
    rows = 158.0 + make_rows(6)
    flat = np.array([1.0, -0.1, 0.05, 0.0, 0.02, 0.0])
    pocket = Pocket(DROPS, flat, np.array(1.0)).at(2000.0, 500.0, 3072, 3080)
    assert pocket.flat == pytest.approx(draw_flat(flat, 2000.0, 500.0, 3072, 3080))
    assert abs(pocket.flat - 1.0) > 0.02
    raw = deferred(LocalPocket(DROPS, 1.0, 1.0), jnp.asarray(pocket.flat * rows))
    np.testing.assert_allclose(deferred(pocket, jnp.asarray(rows)), raw / pocket.flat, rtol=1e-4)


def test_without_a_pocket_nothing_changes():
    rows = make_rows(3)
    nothing = NO_POCKET.at(100.0, 200.0, 3072, 3080)
    assert (np.asarray(deferred(nothing, jnp.asarray(rows))) == 0).all()
    np.testing.assert_array_equal(forward(np.zeros(N_DROPS), rows, 0.0), rows)
    assert capacity_adu(NO_POCKET.drops) == 0


def test_simulated_pocket_keeps_all_electrons_and_its_capacity():
    random = np.random.default_rng(4)
    capacity = 1500
    electrons = random.poisson(1000.0, (300, 60)).astype(np.float32)
    read = defer(electrons, 200, capacity, 2.0, random)
    np.testing.assert_allclose(read.sum(axis=1), electrons.sum(axis=1), rtol=1e-4)
    lost = electrons[:, :20].mean() - read[:, :20].mean(axis=0)
    held = make_catch(capacity, 2.0).mean[round(1000.0 + lost.sum())]
    assert lost.sum() == pytest.approx(held, abs=10)
    assert make_catch(capacity, 2.0).mean[-1] == pytest.approx(capacity, rel=1e-3)
    assert len(KNOTS_ADU) == N_DROPS + 1
