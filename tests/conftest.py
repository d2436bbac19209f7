"""Double precision in every test, and the loops of XLA that jobs have."""

import os
from collections.abc import Iterator

import jax
import pytest
from ztfpsf.psf.device import OLDER_LOOPS

# Read when JAX first looks for its devices.
os.environ.setdefault("XLA_FLAGS", OLDER_LOOPS)
jax.config.update("jax_enable_x64", True)


@pytest.fixture
def strict_promotion() -> Iterator[None]:
    """Mixing of dtypes is an error. optax mixes them itself and is tested without."""
    with jax.numpy_dtype_promotion("strict"):
        yield
