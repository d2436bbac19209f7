"""A private SLURM for all tests of this folder, and one undisturbed run of the demo on it."""

import socket
from collections.abc import Iterator

import pytest
from cluster_demo import Demo, make_demo
from private_slurm import PrivateSlurm, missing_programs, private_slurm


@pytest.fixture(scope="session")
def slurm() -> Iterator[PrivateSlurm]:
    if missing := missing_programs():
        pytest.skip(f"SLURM is not installed ({', '.join(missing)}); make test-cluster does that")
    address = socket.gethostbyname(socket.gethostname())
    if not address.startswith("127."):
        pytest.skip(f"this machine's name means {address}; SLURM would listen there")
    with private_slurm() as running:
        yield running


@pytest.fixture(scope="session")
def undisturbed(slurm: PrivateSlurm, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A finished run."""
    demo = make_demo(slurm, tmp_path_factory.mktemp("cluster"))
    assert demo.run() == 0, demo.text()
    return demo
