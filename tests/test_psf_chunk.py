"""Images that are fitted together: each is what it would be alone."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from problems import make_stamps, make_truth
from ztfpsf.errors import InputError
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.psf.inputs.settings import FitSettings, GridSettings
from ztfpsf.psf.inputs.stack import list_rows, make_chunk, measure_size, put, take
from ztfpsf.psf.models import get_model
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.psf.profile.residual_grid import ResidualGrid
from ztfpsf.psf.solution.fit import fit_image, fit_images
from ztfpsf.psf.solution.result import ImageFit

SETTINGS = FitSettings(
    degree=1, grid=GridSettings(ResidualGrid(1.0, 3.0, 20), 0, ("deferred_charge",))
)
GAUSSIAN = get_model("gaussian")
GRIDDED = SETTINGS.set_grid(get_model("gaussian_grid"))
GAUSS_NEWTON = get_optimiser("gauss_newton").make_solver()
TNCG = get_optimiser("tncg").make_solver()


def make_image(n: int, seed: int) -> ImageStamps:
    """n stars, a third of them reserved, and one with a cosmic ray."""
    stamps = make_stamps(make_truth("moffat", n, 13, seed=seed), seed=seed, n_reserved=n // 3)
    stamps.data[-1, 3, 2] += 2000.0
    return stamps


@pytest.fixture(scope="module")
def images() -> list[ImageStamps]:
    return [make_image(n, seed) for seed, n in enumerate((40, 36, 45))]


def fit(images, model=GAUSSIAN, solver=GAUSS_NEWTON, settings=SETTINGS):
    return fit_images(model, solver, images, settings, 3)


def assert_same(one: ImageFit, other: ImageFit) -> None:
    for name in ("status", "good", "is_fitted", "n_own", "n_shared"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    assert one.psf.degree == other.psf.degree
    for name in ("iterations", "n_problems"):
        assert getattr(one.course, name) == getattr(other.course, name)
    alike = [(one.psf.coefficients, other.psf.coefficients)]
    alike += zip(one.stars, other.stars, strict=True)
    alike += zip(one.quality, other.quality, strict=True)
    for a, b in alike:
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())


@pytest.mark.parametrize(
    ("model", "solver", "settings"),
    [
        (GAUSSIAN, GAUSS_NEWTON, SETTINGS),
        (GAUSSIAN, GAUSS_NEWTON, replace(SETTINGS, strategy="per_star")),
        (GAUSSIAN, TNCG, SETTINGS),
        (GRIDDED, GAUSS_NEWTON, SETTINGS),
    ],
    ids=["field", "per_star", "tncg", "grid"],
)
def test_an_image_does_not_feel_the_others(images, model, solver, settings) -> None:
    together = fit(images, model, solver, settings)
    assert len(together) == 3
    for stamps, other in zip(images[1:], together[1:], strict=True):
        (alone,) = fit([stamps], model, solver, settings)
        assert_same(alone, other)
        if model is GRIDDED:
            scale = np.abs(alone.psf.grid.nodes).max()
            np.testing.assert_allclose(
                other.psf.grid.nodes, alone.psf.grid.nodes, atol=1e-8 * scale
            )


def test_a_chunk_of_one_is_no_other_fit(images) -> None:
    alone = fit_image(GAUSSIAN, GAUSS_NEWTON, images[1], SETTINGS)
    assert_same(alone, fit(images)[1])


@pytest.mark.parametrize(("model", "strategy"), [(GAUSSIAN, "per_star"), (GRIDDED, "field")])
def test_a_failed_image_harms_no_other(images, model, strategy) -> None:
    few = images[0]._replace(is_reserved=np.arange(40) > 1)
    blind = images[2]._replace(good=images[2].good & (np.arange(45) > 42)[:, None, None])
    settings = replace(SETTINGS, strategy=strategy)
    found = fit([few, images[1], blind], model, settings=settings)
    assert isinstance(found[0], InputError)
    assert str(found[0]).startswith("only 2 stars are left to fit, 3 are needed")
    assert str(found[2]).startswith("only 2 stars are left to fit, 3 are needed")
    assert_same(found[1], fit([images[1]], model, settings=settings)[0])


def test_stars_keep_their_places(images) -> None:
    chunk = make_chunk(GAUSSIAN, images, SETTINGS, 4)
    data = np.asarray(chunk.stack.image.data)
    assert data.shape == (4, *(sum(chunk.size[:2]),), 13, 13)
    for number, stamps in enumerate(images):
        np.testing.assert_array_equal(data[number, chunk.places[number]], stamps.data)
        is_reference = np.asarray(chunk.stack.image.is_reference[number])
        np.testing.assert_array_equal(is_reference[chunk.places[number]], ~stamps.is_reserved)
        assert is_reference.sum() == (~stamps.is_reserved).sum()
        assert np.asarray(chunk.stack.is_star[number]).sum() == len(stamps.data)
    np.testing.assert_array_equal(data[3], data[2])


def test_sizes_are_few() -> None:
    sizes = {measure_size(np.arange(n) % 5 == 0, 25, 2) for n in range(200, 301)}
    assert len(sizes) <= 4


def test_rows_that_are_none_are_left_out() -> None:
    rows = list_rows(np.array([[True, False, True], [False, False, True]]))
    assert rows[0, :3].tolist() == [0, 2, 3]
    array = np.arange(12.0).reshape(2, 3, 2)
    taken = take(array, rows)
    np.testing.assert_array_equal(taken[:, :2], [[[0, 1], [4, 5]], [[10, 11], [0, 0]]])
    np.testing.assert_array_equal(put(array, rows, taken + 1.0)[0], [[1, 2], [2, 3], [5, 6]])
    np.testing.assert_array_equal(put(array, rows, taken + 1.0)[1, :2], array[1, :2])


def test_one_size_compiles_once(images) -> None:
    fit(images)
    seen = []

    def listen(event: str, _: float, **__: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        fit([images[1], images[2], images[0]])
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert seen == []
