"""A few of the damaged inputs of `make fuzz`; and that it sees faults."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
PATHS = (TESTS, TESTS / "helpers", TESTS.parent / "scripts")


def fuzz(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS))}
    command = [sys.executable, "-m", "fuzz", "--folder", str(folder), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_damaged_inputs(tmp_path: Path) -> None:
    done = fuzz(tmp_path, "--inputs", "40", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 inputs for " in done.stdout


def test_faults_are_seen(tmp_path: Path) -> None:
    faults = {
        "raise_other": "traceback:",
        "crash": "dies by SIGSEGV",
        "hang": "takes more than 5 s",
        "leave_half": "half-written: .out.part",
        "take_others_along": "touches others: file.txt: damaged.",
        "take_anything": "is taken for the good file",
        "answer_wrongly": "another answer: wrong",
        "blame_another": "does not name file.txt: another file is damaged.",
    }
    names = [f"broken_{name}" for name in faults]
    done = fuzz(tmp_path, "--inputs", f"{len(names)}", "--limit", "5", "--targets", *names)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{len(names)} faults, kept in {tmp_path}" in done.stdout
    for number, (name, fault) in enumerate(zip(names, faults.values(), strict=True)):
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{number} {name}")]
        assert line.endswith(fault)
