"""What every job does around its work."""

import logging
from pathlib import Path

import pytest
from ztfpsf.errors import InputError
from ztfpsf.jobs import for_each_image, job, read_error


def fail(image):
    raise InputError(f"{image} is bad.")


def fail_b(image):
    return fail(image) if image == "b" else image


def test_sentence_of_a_single_image_is_logged_once(tmp_path, capsys):
    path = tmp_path / "logs" / "a.log"
    with pytest.raises(SystemExit), job(path):
        for_each_image(["a"], fail, 0.5)
    assert path.read_text().count("a is bad.") == 1
    assert " ERROR a is bad." in path.read_text()
    assert capsys.readouterr().err == path.read_text()


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


def test_unexpected_error_is_in_the_log(tmp_path):
    path = tmp_path / "a.log"
    with pytest.raises(ZeroDivisionError), job(path):
        _ = 1 / 0
    assert path.read_text().splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_error_of_a_log_is_its_last(tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    assert read_error(log) == ""
    log.write_text("10:00 ERROR first\n10:01 ERROR second\n")
    assert read_error(log) == "second"
    log.write_text("Traceback (most recent call last):\n  a line\nKeyError: 'x'\n")
    assert read_error(log) == "KeyError: 'x'"
