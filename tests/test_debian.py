"""Packages of Debian are installed without starting a service, and leave nothing behind."""

import subprocess
import sys
from pathlib import Path

import debian
import pytest


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(debian, "POLICY", tmp_path / "policy-rc.d")
    return debian.POLICY


def may_start(policy: Path) -> bool:
    return subprocess.run([policy], check=False).returncode != 101


def test_no_daemon_starts_meanwhile(policy: Path) -> None:
    with debian.no_daemons():
        assert not may_start(policy)
    assert not policy.exists()


def test_policy_of_somebody_else_stays(policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 0\n")
    with debian.no_daemons():
        assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert policy.exists()


def test_policy_of_a_killed_installation_goes(policy: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    left = debian.RULES.format(pid=process.pid)
    policy.write_text(left)
    policy.chmod(0o755)
    with debian.no_daemons():
        assert not may_start(policy)
    policy.write_text(left)
    policy.chmod(0o755)
    assert may_start(policy)
    assert not policy.exists()
