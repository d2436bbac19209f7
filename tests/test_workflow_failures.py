"""What the user reads when something failed."""

from pathlib import Path

import pytest
from ztfpsf.errors import InputError
from ztfpsf_workflow.failures import describe_failures, one_sentence

ERROR = """[Sat Nov 21 14:15:04 2026]
Error in rule {rule}:
    message: None
    jobid: 0
    output: {output}, other.json
    log: {log} (check log file(s) for error details)
"""


def test_failures_name_rule_image_and_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with its sentence, one that was killed, one that ended well when tried again."""
    monkeypatch.chdir(tmp_path)
    Path("said.log").write_text("10:00 INFO begun\n10:01 ERROR a.fits: no such file.\n")
    Path("silent.log").write_text("10:00 INFO begun\n")
    Path("made.fits").touch()
    blocks = [
        ERROR.format(rule="select_stars", output="a.parquet", log="said.log"),
        ERROR.format(rule="fit_psf", output="b.parquet", log="silent.log"),
        ERROR.format(rule="cut_stamps", output="made.fits", log="silent.log"),
    ]
    Path("snakemake.log").write_text("".join([*blocks, blocks[0]]))
    assert list(describe_failures(["snakemake.log"])) == [
        "select_stars of said failed: a.fits: no such file.\n    log: said.log",
        "fit_psf of silent failed: ended without a word: killed, or see above.\n"
        "    log: silent.log",
    ]


def test_bad_input_is_a_sentence_without_a_traceback() -> None:
    with pytest.raises(SystemExit, match=r"^Error: a is bad\.$"), one_sentence():
        raise InputError("a is bad.")
