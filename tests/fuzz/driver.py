"""Every case in a process of its own, that may crash or hang."""

import multiprocessing
import os
import shutil
import signal
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ztfpsf.jobs import job, read_error

from fuzz.cases import Answer, Mutant, Outcome, Target, judge

LOG = "logs/job.log"


class Limits(NamedTuple):
    """Of the processes."""

    n_workers: int
    case_s: float


class Verdict(NamedTuple):
    """A case and what is wrong with its outcome."""

    number: int
    target: str
    mutant: Mutant
    outcome: Outcome
    fault: str  # "" if nothing


def plan(targets: Sequence[Target], n: int) -> list[tuple[int, Target]]:
    """Numbers of the cases and their targets, in turn."""
    return [(number, targets[number % len(targets)]) for number in range(n)]


def mutate(target: Target, content: bytes, seed: int, number: int) -> Mutant:
    """The mutant of a case; the same for the same seed, number and target."""
    rng = np.random.default_rng([seed, number, zlib.crc32(target.name.encode())])
    return target.mutations[rng.integers(len(target.mutations))](content, rng)


def drive(
    cases: Sequence[tuple[int, Target]], seed: int, folder: Path, limits: Limits
) -> Iterator[Verdict]:
    """Verdicts on cases, in their order. The folders of faulty cases stay in `folder`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fuzz.targets"])
    targets = {target.name: target for _, target in cases}
    good_files = {name: _make_files(target, folder) for name, target in targets.items()}

    def run(target: Target, name: str, content: bytes | None) -> Outcome:
        case = folder / name
        shutil.copytree(good_files[target.name], case)
        if content is not None:
            (case / target.file).write_bytes(content)
        return _run_apart(context, target, case, limits.case_s)

    def find_good(target: Target) -> Answer:
        outcome = run(target, f"good_{target.name}", None)
        if outcome.answer is None or outcome.answer.refusal:
            raise ValueError(f"{target.name}: the good files fail: {outcome}")
        return outcome.answer

    def work(case: tuple[int, Target]) -> Verdict:
        number, target = case
        content = (good_files[target.name] / target.file).read_bytes()
        mutant = mutate(target, content, seed, number)
        name = f"case_{seed}_{number}"
        outcome = run(target, name, mutant.content)
        fault = judge(target, mutant, outcome, good[target.name])
        if not fault:
            shutil.rmtree(folder / name)
        return Verdict(number, target.name, mutant, outcome, fault)

    with ThreadPoolExecutor(limits.n_workers) as pool:
        good = dict(zip(targets, pool.map(find_good, targets.values()), strict=True))
        yield from pool.map(work, cases)


def _make_files(target: Target, folder: Path) -> Path:
    """The good files of a target, made once for all targets that share them."""
    files = folder / f"files_{target.make.__module__.rpartition('.')[2]}_{target.make.__name__}"
    if not files.exists():
        files.mkdir(parents=True)
        target.make(files)
    return files


def _run_apart(
    context: multiprocessing.context.ForkServerContext, target: Target, folder: Path, limit_s: float
) -> Outcome:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run_job, args=(target.name, folder, sender))
    process.start()
    sender.close()
    answer, is_late = None, not receiver.poll(limit_s)
    if is_late:
        process.kill()
    else:
        try:
            answer = receiver.recv()
        except EOFError:
            answer = None
    process.join()
    log = folder / LOG
    text = log.read_text("utf-8", errors="replace") if log.is_file() else ""
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.part"))
    death = f"takes more than {limit_s:g} s" if is_late else _describe(process.exitcode)
    return Outcome(answer, death, text, left)


def _describe(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"dies by {signal.Signals(-exit_code).name}"
    return f"ends with {exit_code} and says nothing"


def _run_job(name: str, folder: Path, sender: Connection) -> None:
    """In the process of the case: the job, as its rule calls it."""
    from fuzz.targets import TARGETS

    os.chdir(folder)
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            with job(folder / LOG):
                answer = TARGETS[name].run(folder)
        except SystemExit:
            answer = Answer("", refusal=read_error(folder / LOG))
    sender.send(answer)
