"""Double precision in every test, as in the jobs; which tests one process runs."""

from collections.abc import Iterator

import jax
import pytest

jax.config.update("jax_enable_x64", True)


@pytest.fixture
def strict_promotion() -> Iterator[None]:
    """Mixing of dtypes is an error. optax mixes them itself and is tested without."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def pytest_itemcollected(item: pytest.Item) -> None:
    """Of several processes (make test) one runs all tests that share what is costly to make."""
    group = item.path.name
    if item.path.parent.name == "cluster":
        group = "cluster"
    elif "finished" in item.fixturenames:
        group = "finished"
    item.add_marker(pytest.mark.xdist_group(group))
