"""Measurements of a survey on disk: one file of measurements and one of stars per cell of the sky.

exposures.parquet               one row per exposure, in the order that they came
cells/<cell>.parquet            measurements, sorted by star
cells/<cell>_stars.parquet      the stars
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import SEEK_CUR
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pandas as pd

from ztfpsf.errors import InputError
from ztfpsf.fits_files import damage_named
from ztfpsf.io import write_table
from ztfpsf.survey.block import Block
from ztfpsf.survey.design import Units, make_block

MEASUREMENTS = {
    "star_id": "int64",  # 2^32 times the cell, plus a number
    "exposure": "int32",  # row of the exposures
    "rcid": "uint8",
    "x_px": "float32",
    "y_px": "float32",
    "mag": "float32",  # instrumental, -2.5 log10(flux / ADU)
    "mag_error": "float32",
}
STARS = {
    "star_id": "int64",
    "ra_deg": "float64",
    "dec_deg": "float64",
    "colour_mag": "float32",  # of the reference catalogue; NaN: unknown
    "reference_mag": "float32",
    "reference_error_mag": "float32",
}
ROWS_PER_BLOCK = 300_000
ALIGNMENT = 64  # bytes


def list_cells(root: str | Path) -> list[int]:
    """Cells that have stars, ascending."""
    return sorted(int(path.stem) for path in Path(root, "cells").glob("*[0-9].parquet"))


def path_of(root: str | Path, cell: int, kind: str) -> Path:
    """File of a cell; `kind`: measurements or stars."""
    return Path(root, "cells", f"{cell:05d}{'_stars' if kind == 'stars' else ''}.parquet")


def read_cell(root: str | Path, cell: int, kind: str) -> pd.DataFrame:
    """Measurements or stars of a cell; empty if it has none. Raises InputError."""
    if not path_of(root, cell, kind).exists():
        columns = STARS if kind == "stars" else MEASUREMENTS
        return pd.DataFrame({name: np.zeros(0, dtype) for name, dtype in columns.items()})
    return read_cells(root, [cell], kind)


def read_cells(root: str | Path, cells: Sequence[int], kind: str) -> pd.DataFrame:
    """Measurements or stars of cells that have some, one after the other. Raises InputError."""
    columns = list(STARS if kind == "stars" else MEASUREMENTS)
    return read_parts([path_of(root, cell, kind) for cell in cells], columns)


def read_parts(paths: Sequence[Path], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Files of a data set. Raises InputError: the others number what they hold."""
    import pyarrow
    import pyarrow.parquet

    tables = []
    for path in paths:
        # Many files are small: what pandas does for each of them would take longer than reading.
        with damage_named(path, "remove the folder and collect anew"), path.open("rb") as file:
            part = pyarrow.parquet.ParquetFile(file).read(columns, use_threads=False)
            tables.append(part.replace_schema_metadata())
    return pyarrow.concat_tables(tables).to_pandas()


def write_cell(
    root: str | Path,
    cell: int,
    measurements: pd.DataFrame,
    stars: pd.DataFrame,
    provenance: Mapping[str, Any],
) -> None:
    """Write a cell: measurements sorted by star and exposure, then the stars."""
    order = np.lexsort((measurements["exposure"], measurements["star_id"]))
    measurements = measurements.iloc[order][list(MEASUREMENTS)].astype(MEASUREMENTS)
    stars = stars.sort_values("star_id")[list(STARS)].astype(STARS)
    write_table(stars, path_of(root, cell, "stars"), provenance)
    write_table(measurements, path_of(root, cell, "measurements"), provenance)


def count_rows(root: str | Path, cell: int) -> int:
    """Measurements of a cell, from the end of the file alone."""
    import pyarrow.parquet

    return pyarrow.parquet.read_metadata(path_of(root, cell, "measurements")).num_rows


@dataclass
class CellBlocks(Sequence[Block]):
    """Blocks of a dataset, made when they are first needed, kept while they are within `memory_gb`.

    The others go to temporary files in the folder of the data set, as they are: reading them takes
    a tenth of the time that it takes to make them. A copy that goes to another process starts with
    nothing.
    """

    root: str
    cells: list[list[int]]  # of each block
    units: Units
    memory_gb: float
    _kept: dict[int, Block] = field(default_factory=dict)
    _size: int = 0

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, index: int) -> Block:  # type: ignore[override]
        if index >= len(self.cells):
            raise IndexError(index)
        kept = self._kept.get(index)
        if kept is None:
            kept = self.read(index)
            size = sum(array.nbytes for array in kept)
            if self._size + size > self.memory_gb * 1e9:
                kept = self._map(kept)
            else:
                self._size += size
            self._kept[index] = kept
        return kept

    def read(self, index: int) -> Block:
        """The block, from the data set."""
        cells = self.cells[index]
        measurements, stars = (
            read_cells(self.root, cells, kind) for kind in ("measurements", "stars")
        )
        return make_block(measurements, stars, self.units)

    def _map(self, block: Block) -> Block:
        """The block with its arrays on disk, which the system reads when they are used."""
        places = []
        # Without a name in the folder: nothing is left of it when the job ends, however it ends.
        with TemporaryFile(dir=self.root) as file:
            for array in block:
                file.seek(-file.tell() % ALIGNMENT, SEEK_CUR)
                places.append(file.tell())
                array.tofile(file)
            # Not for reading only: of such arrays Numba would compile loops of their own.
            mapped = np.memmap(file, np.uint8, "c")
        return Block(
            *(
                mapped[place : place + array.nbytes].view(array.dtype).view(np.ndarray)
                for place, array in zip(places, block, strict=True)
            )
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}, "_size": 0}


def open_blocks(root: str, units: Units, memory_gb: float) -> CellBlocks:
    """All cells of a dataset, small ones together."""
    groups: list[list[int]] = []
    rows = ROWS_PER_BLOCK
    for cell in list_cells(root):
        n = count_rows(root, cell)
        if n and rows + n > ROWS_PER_BLOCK:
            groups.append([])
            rows = 0
        if n:
            groups[-1].append(cell)
            rows += n
    if not groups:
        raise InputError(
            f"{root}: holds no measurement; see what collect_survey left out, and why."
        )
    return CellBlocks(str(root), groups, units, memory_gb)
