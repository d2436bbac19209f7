"""What the user reads when something failed."""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ztfpsf.errors import InputError
from ztfpsf.jobs import describe_death, read_error


@contextmanager
def one_sentence() -> Iterator[None]:
    """End on bad input with its sentence; Snakemake would print a traceback behind it."""
    try:
        yield
    except InputError as error:
        sys.exit(f"Error: {error}")


def describe_failures(paths_to_logs: Iterable[str | Path]) -> list[str]:
    """Two lines for each job of a run that failed for good: rule, image and reason; its log.

    `paths_to_logs`: Snakemake's own logs of the run.
    """
    text = "".join(Path(path).read_text("utf-8", errors="replace") for path in paths_to_logs)
    told = []
    for block in re.split("^Error in rule ", text, flags=re.M)[1:]:
        log = re.search(r"^    log: ([^,\s]+)", block, re.M)
        outputs = re.search("^    output: (.*)$", block, re.M)
        # A job that was tried again may have ended well.
        if log and not (outputs and any(map(os.path.exists, outputs[1].split(", ")))):
            death = f"{describe_death(log[1])}: killed, or see above."
            reason = read_error(log[1]) or death
            rule, image = block.partition(":")[0], Path(log[1]).stem
            told.append(f"{rule} of {image} failed: {reason}\n    log: {log[1]}")
    return list(dict.fromkeys(told))
