"""What every job does around its work."""

import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from ztfpsf.errors import InputError
from ztfpsf.jobs import describe_death, for_each_image, job, read_error

SCRIPTS = Path(__file__).parents[1] / "scripts"


def fail(image):
    raise InputError(f"{image} is bad.")


def fail_b(image):
    return fail(image) if image == "b" else image


def crash(image):
    return {}[image]


def test_sentence_of_a_single_image_is_told_once(tmp_path, capsys):
    path = tmp_path / "logs" / "a.log"
    with pytest.raises(SystemExit), job(path):
        for_each_image(["a"], fail, 0.5)
    assert path.read_text().count("a is bad.") == 1
    assert read_error(path) == "a is bad."
    assert capsys.readouterr().err.endswith(" ERROR a is bad.\n")


@pytest.mark.parametrize("max_failed_fraction", [0.0, 1.0])
def test_unexpected_error_is_a_sentence_whose_traceback_is_in_the_log(
    tmp_path, capsys, max_failed_fraction
):
    path = tmp_path / "a.log"
    with suppress(SystemExit), job(path):
        for_each_image(["a"], crash, max_failed_fraction)
    sentence = (
        "a: an error that ztfpsf does not expect (KeyError: 'a'); its log has the traceback: "
        "please report it."
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f" {'WARNING' if max_failed_fraction else 'ERROR'} {sentence}")
    log = path.read_text()
    assert log.count(sentence) == 1
    assert "in crash\n" in log
    assert "KeyError: 'a'\n" in log
    assert read_error(path) == ("" if max_failed_fraction else sentence)


def test_other_images_go_on_past_an_unexpected_error():
    results, failures = for_each_image("abc", lambda image: 1 / (image != "b"), 0.5)
    assert results == {"a": 1.0, "c": 1.0}
    assert failures["b"].startswith("b: an error that ztfpsf does not expect (ZeroDivisionError: ")


def test_failed_image_of_many_is_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "ztfpsf"):
        results, failures = for_each_image("abc", fail_b, 0.5)
    assert list(results) == ["a", "c"]
    assert failures == {"b": "b is bad."}
    assert caplog.messages == ["b is bad."]


def test_too_many_failed_images():
    with pytest.raises(InputError, match=r"1 of 3 images failed, .* the first: b is bad\."):
        for_each_image("abc", fail_b, 0.3)


def test_single_image_may_fail(caplog):
    with caplog.at_level(logging.WARNING, "ztfpsf"):
        assert for_each_image(["a"], fail, 1.0) == ({}, {"a": "a is bad."})
    assert caplog.messages == ["a is bad."]


def test_unexpected_error_of_a_job_is_a_sentence(tmp_path, capsys):
    path = tmp_path / "a.log"
    with pytest.raises(SystemExit), job(path):
        _ = 1 / 0
    sentence = "an error that ztfpsf does not expect (ZeroDivisionError: division by zero); "
    assert read_error(path).startswith(sentence)
    assert path.read_text().splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert "Traceback" not in capsys.readouterr().err


def test_error_of_a_log_is_its_last(tmp_path):
    log = tmp_path / "one.log"
    assert read_error(log) == ""
    log.write_text("10:00 ERROR first\n10:01 ERROR second\nTraceback (most recent call last):\n")
    assert read_error(log) == "second"


KILLED = """
import os, signal, sys
from ztfpsf.jobs import for_each_image, job

def work(image):
    if image == "b":
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))

with job(sys.argv[1]):
    for_each_image(["a", "b", "c"], work, 1.0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("name", "death"),
    [
        ("SIGSEGV", "ended without a word in the work on b, by a crash (Segmentation fault)"),
        ("SIGKILL", "ended without a word in the work on b"),
        ("SIGCONT", "ended without a word"),
    ],
)
def test_process_that_dies_is_named_with_its_image(tmp_path, name, death):
    """By C code, by the kernel for want of memory; and after the work on all images."""
    log = tmp_path / "one.log"
    command = [sys.executable, "-c", KILLED, log, name]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert done.returncode < 0
    assert read_error(log) == ""
    assert describe_death(log) == death


def test_all_that_was_in_work_is_named(tmp_path):
    """Chunks of images are fitted at the same time."""
    log = tmp_path / "one.log"
    told = ["begins a, b", "begins c", "ends a, b", "begins d"]
    log.write_text("".join(f"2026-11-28 10:00:00,000 DEBUG {text}\n" for text in told))
    assert describe_death(log) == "ended without a word in the work on c, d"
