"""`python -m fuzz`: damaged inputs for every reader, and what is wrong with what came of them."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

# One thread each: there are as many processes as cores, and they are forked.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=500, help="number of damaged inputs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that a case may take")
    parser.add_argument("--targets", nargs="+", default=[], help="some of the readers")
    parser.add_argument("--case", type=int, help="this one, of the same seed and targets")
    parser.add_argument("--folder", type=Path, help="where faulty cases stay")
    return parser.parse_args()


def main() -> int:
    from fuzz.driver import Limits, Verdict, drive, plan
    from fuzz.targets import DEFAULT, TARGETS

    given = parse_arguments()
    targets = [TARGETS[name] for name in given.targets or DEFAULT]
    cases = [case for case in plan(targets, given.inputs) if given.case in (None, case[0])]
    folder = given.folder or Path(tempfile.mkdtemp(prefix="fuzz_"))
    start = time.monotonic()
    counts: Counter[str] = Counter()
    faulty: list[Verdict] = []
    for verdict in drive(cases, given.seed, folder, Limits(given.workers, given.limit)):
        answer = verdict.outcome.answer
        if answer:
            counts["refused" if answer.refusal else "answered"] += 1
        if verdict.fault or given.case is not None:
            faulty += [verdict] if verdict.fault else []
            print(f"{verdict.number} {verdict.target}, {verdict.mutant.what}: {verdict.fault}")
            print(f"    {answer.refusal or answer.value[:200] if answer else ''}", flush=True)
    print(
        f"{len(cases)} inputs for {len(targets)} readers, seed {given.seed}, "
        f"{time.monotonic() - start:.0f} s: {counts['refused']} refused with a sentence, "
        f"{counts['answered']} answered, {len(faulty)} faults"
        + (f", kept in {folder}" if faulty else "")
    )
    if not (faulty or given.folder):
        shutil.rmtree(folder)
    return bool(faulty)


if __name__ == "__main__":
    sys.exit(main())
