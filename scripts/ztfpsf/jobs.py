"""What every job does around its work: log, fail with one sentence, go on past bad images.

Here, and nowhere else, an exception that nobody foresaw becomes a sentence: the user reads that,
the log holds the traceback.
"""

import faulthandler
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

from ztfpsf.errors import InputError

logger = logging.getLogger("ztfpsf")
Result = TypeVar("Result")
Row = TypeVar("Row")

_FORMAT = "%(asctime)s %(levelname)s %(message)s"
# What the log says before and after the work on each image; a job that was killed says no more.
_BEGINS, _ENDS = "begins ", "ends "
_ENTRY = re.compile(r"[\d :,-]+ (?P<level>[A-Z]+) (?P<message>.*)")
_CRASH = re.compile(r"Fatal Python error: (?P<what>.*)")


class UnexpectedError(InputError):
    """The sentence about an exception that nobody foresaw, which is its cause."""


@contextmanager
def job(path_to_log: str | Path) -> Iterator[None]:
    """Log to a file and to stderr; an error ends the process with one sentence on stderr."""
    Path(path_to_log).parent.mkdir(parents=True, exist_ok=True)
    with open(path_to_log, "w", encoding="utf-8") as file:
        handlers = _make_handlers(file)
        logger.setLevel(logging.DEBUG)
        for handler in handlers:
            logger.addHandler(handler)
        try:
            with _one_sentence(""), _told_of_crashes(file):
                yield
        except InputError as error:
            logger.error("%s", error, exc_info=_cause(error))
            raise SystemExit(1) from None
        finally:
            for handler in handlers:
                logger.removeHandler(handler)


def _make_handlers(file: TextIO) -> list[logging.Handler]:
    to_file, to_user = logging.StreamHandler(file), logging.StreamHandler(sys.stderr)
    to_file.setFormatter(logging.Formatter(_FORMAT))
    to_user.setFormatter(_SentenceFormatter(_FORMAT))
    to_user.setLevel(logging.INFO)
    return [to_file, to_user]


class _SentenceFormatter(logging.Formatter):
    """Messages without tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        plain = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        return super().format(plain)


@contextmanager
def _told_of_crashes(file: TextIO) -> Iterator[None]:
    """Where C code crashed goes into the log, unless something else sees to that."""
    if faulthandler.is_enabled():
        yield
        return
    faulthandler.enable(file)
    try:
        yield
    finally:
        faulthandler.disable()


@contextmanager
def _one_sentence(what: str) -> Iterator[None]:
    """Make any exception an InputError; `what` was in work."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        kind, lines = type(error).__name__, str(error).splitlines()
        said = f"{kind}: {lines[0].rstrip('.')}" if lines else kind
        raise UnexpectedError(
            f"{what}{': ' if what else ''}an error that ztfpsf does not expect ({said}); its log "
            "has the traceback: please report it."
        ) from error


@contextmanager
def in_work(images: str) -> Iterator[None]:
    """Any error of the work on some images is an InputError; the log tells what was in work."""
    logger.debug("%s%s", _BEGINS, images)
    try:
        with _one_sentence(images):
            yield
    finally:
        logger.debug("%s%s", _ENDS, images)


def log_failure(error: InputError) -> None:
    """Tell why an image failed; the log has the traceback of what nobody foresaw."""
    logger.warning("%s", error, exc_info=_cause(error))


def _cause(error: InputError) -> BaseException | None:
    return error.__cause__ if isinstance(error, UnexpectedError) else None


def read_error(path_to_log: str | Path) -> str:
    """The sentence that a job ended with, from its log; "" if it says none, or is not there."""
    errors = [message for level, message in _read_entries(path_to_log) if level == "ERROR"]
    return errors[-1] if errors else ""


def describe_death(path_to_log: str | Path) -> str:
    """How a job ended that left no sentence, and on which images it worked; from its log."""
    told = [message for level, message in _read_entries(path_to_log) if level == "DEBUG"]
    begun = [text.removeprefix(_BEGINS) for text in told if text.startswith(_BEGINS)]
    left = ", ".join(images for images in begun if f"{_ENDS}{images}" not in told)
    where = f" in the work on {left}" if left else ""
    crash = next(filter(None, map(_CRASH.match, _read_lines(path_to_log))), None)
    return f"ended without a word{where}" + (f", by a crash ({crash['what']})" if crash else "")


def _read_entries(path_to_log: str | Path) -> list[tuple[str, str]]:
    """Level and message of the entries of a log."""
    matches = map(_ENTRY.fullmatch, _read_lines(path_to_log))
    return [(match["level"], match["message"]) for match in matches if match]


def _read_lines(path_to_log: str | Path) -> list[str]:
    path = Path(path_to_log)
    return path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else []


def for_each_image(
    images: Iterable[str],
    work: Callable[[str], Result],
    max_failed_fraction: float,
) -> tuple[dict[str, Result], dict[str, str]]:
    """Call `work(image)` for every image; an error fails that image only.

    Returns the results and the error sentences, both by image name. Raises InputError when more
    than `max_failed_fraction` of the images failed; that of the image if it is the only one.
    """
    names = list(images)
    results: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for name in names:
        try:
            with in_work(name):
                results[name] = work(name)
        except InputError as error:
            if len(names) == 1 and max_failed_fraction < 1:
                raise
            failures[name] = str(error)
            log_failure(error)
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
