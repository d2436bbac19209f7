"""Rows of the sheets that users write: CSV with a line of column names, comments and blank lines.

The standard library only: sheets are read at every start of the workflow.
"""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ztfpsf.errors import InputError


class SheetKind(NamedTuple):
    """How messages call a sheet."""

    name: str  # e.g. image sheet
    key: str  # of the configuration, that names the file
    check_columns: Callable[[Sequence[str], str], object]  # of the names and where they stand


def read_rows(path: str | Path, kind: SheetKind) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows by column name, each with "file, line n".

    Spaces around cells, a byte-order mark, blank lines and those that start with # do not count.
    Raises InputError for a file that is no such sheet, naming the line.
    """
    check_sheet(path, kind)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            columns: Sequence[str] = ()
            for cells in reader:
                cells = [cell.strip() for cell in cells]
                if not any(cells) or cells[0].startswith("#"):
                    continue
                where = f"{path}, line {reader.line_num}"
                if not columns:
                    columns = cells
                    kind.check_columns(columns, where)
                    if len(set(columns)) < len(columns):
                        raise InputError(f"{where}: a column is named twice; keep one of each.")
                elif len(cells) != len(columns):
                    raise InputError(
                        f"{where}: {len(cells)} cells, but the first line names "
                        f"{len(columns)} columns; add or remove commas."
                    )
                else:
                    yield where, _make_record(columns, cells, where)
    except OSError as error:
        raise InputError(f"{path}: the {kind.name} cannot be read ({error.strerror}).") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: not a text file in UTF-8 ({error}); save the {kind.name} as CSV."
        ) from None


def _make_record(columns: Sequence[str], cells: Sequence[str], where: str) -> dict[str, str]:
    record = dict(zip(columns, cells, strict=True))
    if "://" in "\n".join(cells):
        column = next(name for name, cell in record.items() if "://" in cell)
        raise InputError(f"{where}: {no_url(column, record[column])}")
    return record


def no_url(column: str, cell: str) -> str:
    """What is wrong with a URL: readers would fetch it, unasked and in every job."""
    return (
        f"column '{column}' has the URL '{cell}'; fetch it, and write the path of the file on this "
        "machine."
    )


def check_sheet(path: str | Path, kind: SheetKind) -> None:
    """Raise InputError for what is no file: nothing, a folder, a pipe that has no end."""
    if not os.path.isfile(path):
        wrong = "not a file" if os.path.exists(path) else f"no such {kind.name}"
        raise InputError(f"{path}: {wrong}; write one or correct the config key '{kind.key}'.")
