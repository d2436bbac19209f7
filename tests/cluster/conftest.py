"""A private SLURM for all tests of this folder, and one undisturbed run of the demo on it."""

from collections.abc import Iterator

import pytest
from cluster_demo import Demo, make_demo
from private_slurm import PrivateSlurm, private_slurm, why_not


@pytest.fixture(scope="session")
def slurm() -> Iterator[PrivateSlurm]:
    if reason := why_not():
        pytest.skip(reason)
    with private_slurm() as running:
        yield running


@pytest.fixture(scope="session")
def undisturbed(slurm: PrivateSlurm, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A finished run."""
    demo = make_demo(slurm, tmp_path_factory.mktemp("cluster"))
    assert demo.run() == 0, demo.text()
    return demo
