"""Double precision in every test, as in the jobs."""

from collections.abc import Iterator

import jax
import pytest

jax.config.update("jax_enable_x64", True)


@pytest.fixture
def strict_promotion() -> Iterator[None]:
    """Mixing of dtypes is an error. optax mixes them itself and is tested without."""
    with jax.numpy_dtype_promotion("strict"):
        yield
