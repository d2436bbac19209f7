"""Image sheets of millions of rows: parquet in place of CSV, with the same columns.

A name costs some 80 bytes of memory; the paths of a row are looked up when its unit is asked for.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from ztfpsf.csv_rows import check_sheet, no_url
from ztfpsf.errors import InputError, first_sentence
from ztfpsf.listing import ImageFiles
from ztfpsf.names import QUADRANT_PATTERN
from ztfpsf.nights import to_date
from ztfpsf.sheet import IMAGE_SHEET, ImageSheet, check_columns, no_file, no_image

_TEXTS = (
    pyarrow.types.is_null,
    pyarrow.types.is_string,
    pyarrow.types.is_large_string,
    pyarrow.types.is_binary,
    pyarrow.types.is_large_binary,
)


class Rows(Sequence[ImageFiles]):
    """Rows of a table as ImageFiles, made when they are asked for."""

    def __init__(self, table: pyarrow.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return self._table.num_rows

    @overload
    def __getitem__(self, index: int) -> ImageFiles: ...

    @overload
    def __getitem__(self, index: slice) -> list[ImageFiles]: ...

    def __getitem__(self, index: int | slice) -> ImageFiles | list[ImageFiles]:
        if isinstance(index, slice):
            start, stop, _ = index.indices(len(self))
            records = self._table.slice(start, max(stop - start, 0)).to_pylist()
            return [_files(record) for record in records]
        return _files(self._table.slice(range(len(self))[index], 1).to_pylist()[0])

    def __iter__(self) -> Iterator[ImageFiles]:
        for batch in self._table.to_batches(max_chunksize=10_000):
            yield from map(_files, batch.to_pylist())


def _files(record: dict[str, str | None]) -> ImageFiles:
    return ImageFiles(**{"sciimg": "", **{key: value or "" for key, value in record.items()}})


def read_parquet_sheet(path: str | Path, data_root: str = "") -> ImageSheet:
    """Read an image sheet in parquet; rows name images, not directories of them.

    Raises InputError naming the file and the first bad image.
    """
    check_sheet(path, IMAGE_SHEET)
    try:
        columns = pyarrow.parquet.read_schema(path).names
        check_columns(columns, str(path))
        table = pyarrow.parquet.read_table(path, columns=columns)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(
            f"{path}: not a parquet file ({first_sentence(error)}); write it again."
        ) from None
    if not table.num_rows:
        raise InputError(no_image(path))
    table = _sort(_to_texts(table, path))
    _check_names(table["image"], path)
    if not data_root:
        _check_files(table, path)
    return ImageSheet(str(path), data_root, table["image"].to_pylist(), Rows(table))


def _to_texts(table: pyarrow.Table, path: str | Path) -> pyarrow.Table:
    """The table with all columns as text. Raises InputError for numbers, lists, URLs and so on."""
    for k, column in enumerate(table.column_names):
        kind = table[column].type
        kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
        if not any(is_text(kind) for is_text in _TEXTS):
            raise InputError(
                f"{path}: column '{column}' holds {kind} values; write it as a column of texts."
            )
        try:
            texts = table[column].cast(pyarrow.string())
        except pyarrow.ArrowInvalid:
            raise InputError(
                f"{path}: column '{column}' is not UTF-8; write it as a column of texts."
            ) from None
        urls = texts.filter(pyarrow.compute.match_substring(texts, "://"))
        if len(urls):
            raise InputError(f"{path}: {no_url(column, urls[0].as_py())}")
        table = table.set_column(k, column, texts)
    return table


def _sort(table: pyarrow.Table) -> pyarrow.Table:
    names = table["image"]
    in_order = pyarrow.compute.all(pyarrow.compute.less_equal(names[:-1], names[1:])).as_py()
    return table.sort_by("image") if in_order is False else table


def _check_names(names: pyarrow.ChunkedArray, path: str | Path) -> None:
    if names.null_count:
        raise InputError(
            f"{path}: {names.null_count} rows name no image; add the name, or remove them."
        )
    matches = pyarrow.compute.match_substring_regex(names, f"^{QUADRANT_PATTERN}$")
    wrong = names.filter(pyarrow.compute.invert(pyarrow.compute.fill_null(matches, False)))
    if len(wrong):
        raise InputError(
            f"{path}: '{wrong[0].as_py()}' is not the name of a ZTF quadrant; expected the form "
            "ztf_20200924431759_000655_zr_c13_o_q3."
        )
    # A name is wrong, too, where its day is in no calendar.
    days = pyarrow.compute.utf8_slice_codeunits(names, len("ztf_"), len("ztf_YYYYMMDD"))
    for day in days.unique().to_pylist():
        try:
            to_date(day)
        except InputError:
            name = names.filter(pyarrow.compute.equal(days, day))[0].as_py()
            raise InputError(
                f"{path}: '{name}': there is no day {day}; correct the name."
            ) from None
    twice = names[1:].filter(pyarrow.compute.equal(names[1:], names[:-1]))
    if len(twice):
        raise InputError(f"{path}: image '{twice[0].as_py()}' is listed twice; keep one row.")


def _check_files(table: pyarrow.Table, path: str | Path) -> None:
    """Raise InputError for the first row without a file."""
    without = table
    if "sciimg" in table.column_names:
        given = pyarrow.compute.fill_null(table["sciimg"], "")
        without = table.filter(pyarrow.compute.equal(given, ""))
    if without.num_rows:
        raise InputError(f"{path}: {no_file(without['image'][0].as_py())}")


def write_parquet_sheet(rows: Sequence[ImageFiles], path: str | Path) -> None:
    """Write rows that are sorted by image; columns that are empty everywhere are left out."""
    columns = {
        name: values
        for name, values in zip(ImageFiles._fields, zip(*rows, strict=True), strict=True)
        if any(values)
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd")
