"""What a mutation gives, what a reader makes of it, and how the two are judged."""

from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Expected(Enum):
    """What must come of a mutated file."""

    ANY = "an answer or a sentence"
    SAME = "the answer of the good file"
    REFUSED = "a sentence"
    INTACT = "the answer of the good file, or a sentence"


class Mutant(NamedTuple):
    """A damaged file."""

    content: bytes
    expected: Expected
    what: str  # was done to it


Mutation = Callable[[bytes, np.random.Generator], Mutant]


class Answer(NamedTuple):
    """What came of a run, as texts that can be compared."""

    value: str  # of the file in question
    refusal: str = ""  # the sentence in place of a value
    others: str = ""  # of what the file must not touch: other images, the level of a master


class Target(NamedTuple):
    """A reader: good files, the one that is mutated, and the job that reads them."""

    name: str
    make: Callable[[Path], None]  # writes the good files into a folder
    file: str  # the one that is mutated
    mutations: Sequence[Mutation]
    run: Callable[[Path], Answer]  # the job, in a folder with such files; may raise InputError
    told: Sequence[str] = ()  # words of which a sentence must hold one; empty: none


class Outcome(NamedTuple):
    """How a process ended."""

    answer: Answer | None  # None: it died, or was ended
    death: str = ""
    log: str = ""  # text of the job's log
    left: Sequence[str] = ()  # temporary files


def judge(target: Target, mutant: Mutant, outcome: Outcome, good: Answer) -> str:
    """What is wrong with an outcome, "" if nothing. `good`: the answer of the good files."""
    if outcome.answer is None:
        return outcome.death
    if "Traceback (most recent call last)" in outcome.log:
        return "traceback:\n" + outcome.log[-1500:]
    if outcome.left:
        return f"half-written: {', '.join(outcome.left)}"
    if outcome.answer.others != good.others:
        return f"touches others: {outcome.answer.others or outcome.answer.refusal}"
    if outcome.answer.refusal:
        return _judge_refusal(target, mutant.expected, outcome.answer.refusal)
    same = outcome.answer.value == good.value
    if mutant.expected is Expected.REFUSED:
        return "is taken" + (" for the good file" if same else f": {outcome.answer.value[:300]}")
    if mutant.expected in (Expected.SAME, Expected.INTACT) and not same:
        return f"another answer: {outcome.answer.value[:300]}\nnot {good.value[:300]}"
    return ""


def _judge_refusal(target: Target, expected: Expected, sentence: str) -> str:
    if expected is Expected.SAME:
        return f"refused without need: {sentence}"
    if "\n" in sentence or not sentence.endswith("."):
        return f"not one sentence: {sentence}"
    if target.told and not any(word in sentence for word in target.told):
        return f"does not name {' or '.join(target.told)}: {sentence}"
    return ""
