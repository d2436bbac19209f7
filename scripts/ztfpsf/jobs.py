"""What every job does around its work: log, fail with one sentence, go on past bad images."""

import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ztfpsf.errors import InputError

logger = logging.getLogger("ztfpsf")
Result = TypeVar("Result")
Row = TypeVar("Row")


@contextmanager
def job(path_to_log: str | Path) -> Iterator[None]:
    """Log to a file and to stderr; bad input ends the process with one sentence, no traceback."""
    Path(path_to_log).parent.mkdir(parents=True, exist_ok=True)
    logger.setLevel(logging.INFO)
    handlers = [logging.FileHandler(path_to_log, mode="w"), logging.StreamHandler(sys.stderr)]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    try:
        yield
    except InputError as error:
        logger.error("%s", error)
        raise SystemExit(1) from None
    finally:
        # Python shows the traceback of an unexpected error on stderr; the log needs it, too.
        error = sys.exception()
        if error is not None and not isinstance(error, SystemExit):
            handlers[0].stream.write("".join(traceback.format_exception(error)))
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def read_error(path_to_log: str | Path) -> str:
    """The sentence that a job ended with, from its log; "" if it says none, or is not there."""
    path = Path(path_to_log)
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    if "Traceback (most recent call last):" in lines:
        return lines[-1]
    errors = [line.partition(" ERROR ")[2] for line in lines if " ERROR " in line]
    return errors[-1] if errors else ""


def for_each_image(
    images: Iterable[str],
    work: Callable[[str], Result],
    max_failed_fraction: float,
) -> tuple[dict[str, Result], dict[str, str]]:
    """Call `work(image)` for every image; an InputError fails that image only.

    Returns the results and the error sentences, both by image name. Raises InputError when more
    than `max_failed_fraction` of the images failed; that of the image if it is the only one.
    """
    names = list(images)
    results: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for name in names:
        try:
            results[name] = work(name)
        except InputError as error:
            if len(names) == 1 and max_failed_fraction < 1:
                raise
            failures[name] = str(error)
            logger.warning("%s", error)
    check_failures(failures, len(names), max_failed_fraction)
    return results, failures


def make_rows(
    images: Iterable[str],
    results: Mapping[str, Result],
    failures: Mapping[str, str],
    describe: Callable[[Result], Row],
    describe_failure: Callable[[str, str], Row],
) -> list[Row]:
    """What a product says of each image, in the order of `images`.

    `results`, `failures`: of for_each_image; `describe` takes a result, `describe_failure` the name
    of an image and its sentence.
    """
    return [
        describe(results[image]) if image in results else describe_failure(image, failures[image])
        for image in images
    ]


def make_failed_row(image: str, status: str) -> dict[str, Any]:
    """The row of an image that failed in a table of images; what else it lacks is NaN."""
    return {"image": image, "status": status}


def check_failures(failures: dict[str, str], n_images: int, max_failed_fraction: float) -> None:
    """Raise InputError when more than `max_failed_fraction` of the images failed."""
    if len(failures) <= max_failed_fraction * n_images:
        return
    reason = next(iter(failures.values()))
    raise InputError(
        f"{len(failures)} of {n_images} images failed, more than max_failed_fraction = "
        f"{max_failed_fraction}; the first: {reason}"
    )
