"""Readers that do what none must: the driver has to see it. Not among the default ones."""

import os
import signal
import time
from pathlib import Path

from ztfpsf.errors import InputError

from fuzz.cases import Answer, Expected, Target
from fuzz.mutations.raw_bytes import expect, replace_all, truncate

FILE = "file.txt"


def make(folder: Path) -> None:
    (folder / FILE).write_text("good file\n" * 100)


def is_good(folder: Path) -> bool:
    return (folder / FILE).read_text("utf-8", errors="replace") == "good file\n" * 100


def raise_other(folder: Path) -> Answer:
    if not is_good(folder):
        raise KeyError("NAXIS1")
    return Answer("good")


def crash(folder: Path) -> Answer:
    if not is_good(folder):
        os.kill(os.getpid(), signal.SIGSEGV)
    return Answer("good")


def hang(folder: Path) -> Answer:
    if not is_good(folder):
        time.sleep(3600)
    return Answer("good")


def leave_half(folder: Path) -> Answer:
    if not is_good(folder):
        (folder / ".out.part").touch()
    return Answer("good")


def take_others_along(folder: Path) -> Answer:
    if not is_good(folder):
        raise InputError(f"{FILE}: damaged.")
    return Answer("good", others="good")


def take_anything(folder: Path) -> Answer:
    return Answer("good")


def answer_wrongly(folder: Path) -> Answer:
    return Answer("good" if is_good(folder) else "wrong")


def blame_another(folder: Path) -> Answer:
    if not is_good(folder):
        raise InputError("another file is damaged.")
    return Answer("good")


TARGETS = [
    Target(f"broken_{run.__name__}", make, FILE, [mutation], run, [FILE])
    for run, mutation in (
        (raise_other, truncate),
        (crash, truncate),
        (hang, truncate),
        (leave_half, truncate),
        (take_others_along, truncate),
        (take_anything, replace_all),
        (answer_wrongly, expect(Expected.INTACT, truncate)),
        (blame_another, truncate),
    )
]
