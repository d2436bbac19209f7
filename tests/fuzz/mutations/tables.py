"""Catalogues: rows and columns that are not what their reader wants."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from astropy.table import Table

from fuzz.cases import Expected, Mutant, Mutation

NEEDED = ("ra", "dec", "mag")
VALUES = (np.nan, np.inf, -np.inf, -999.0, 1e300, 0.0, 400.0)


def lose_column(table: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, Mutant]:
    name = str(rng.choice(list(table.columns)))
    expected = Expected.REFUSED if name in NEEDED else Expected.ANY
    return table.drop(columns=name), _mutant(expected, f"without {name}")


def rename_column(table: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, Mutant]:
    name = str(rng.choice(NEEDED))
    other = str(rng.choice([name.upper(), f" {name}", f"{name}_deg", f"{name} (deg)"]))
    renamed = table.rename(columns={name: other})
    return renamed, _mutant(Expected.ANY, f"{name} is called {other!r}")


def make_text(table: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, Mutant]:
    name, text = str(rng.choice(NEEDED)), str(rng.choice(["x", "03:51:59", "1,5", "--", "12h"]))
    values = table[name].astype(str)
    values.iloc[rng.integers(len(table))] = text
    return table.assign(**{name: values}), _mutant(Expected.REFUSED, f"{name} holds {text}")


def set_values(table: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, Mutant]:
    name, value = str(rng.choice(list(table.columns))), VALUES[rng.integers(len(VALUES))]
    values = table[name].astype(float)
    part = rng.choice([0.1, 0.5, 1.0])
    values[rng.random(len(table)) < part] = value
    return table.assign(**{name: values}), _mutant(Expected.ANY, f"{name} = {value:g} in {part:g}")


def lose_rows(table: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, Mutant]:
    n = int(rng.choice([0, 1, 2, len(table) // 2]))
    expected = Expected.REFUSED if n == 0 else Expected.ANY
    return table.iloc[:n], _mutant(expected, f"{n} rows")


def repeat_rows(table: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, Mutant]:
    return pd.concat([table, table]), _mutant(Expected.ANY, "every row twice")


def shuffle_columns(table: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, Mutant]:
    names = [*rng.permutation(list(table.columns))]
    return table[names].assign(more=1.0), _mutant(Expected.SAME, "columns in another order")


CHANGES = (
    lose_column,
    rename_column,
    make_text,
    set_values,
    lose_rows,
    repeat_rows,
    shuffle_columns,
)


def read(content: bytes) -> pd.DataFrame:
    if content.startswith(b"PAR1"):
        return pd.read_parquet(io.BytesIO(content))
    if content.startswith(b"SIMPLE"):
        return Table.read(io.BytesIO(content), format="fits").to_pandas()
    return pd.read_csv(io.BytesIO(content))


def write_csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def write_parquet(table: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    table.to_parquet(out, index=False)
    return out.getvalue()


def write_fits(table: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    Table.from_pandas(table.reset_index(drop=True)).write(out, format="fits")
    return out.getvalue()


WRITERS = {"csv": write_csv, "parquet": write_parquet, "fits": write_fits}


def change_in(kind: str) -> list[Mutation]:
    """The changes of a table in a format, and the table in another one."""
    others = [writer for name, writer in WRITERS.items() if name != kind]

    def convert(content: bytes, rng: np.random.Generator) -> Mutant:
        writer = others[rng.integers(len(others))]
        return Mutant(writer(read(content)), Expected.SAME, f"by {writer.__name__}")

    def bind(change: Callable) -> Mutation:
        def mutate(content: bytes, rng: np.random.Generator) -> Mutant:
            table, mutant = change(read(content), rng)
            return mutant._replace(content=WRITERS[kind](table))

        return mutate

    return [convert, *map(bind, CHANGES)]


def _mutant(expected: Expected, what: str) -> Mutant:
    """Without its content, which depends on the format."""
    return Mutant(b"", expected, what)


DAMAGES: dict[str, Sequence[Mutation]] = {kind: change_in(kind) for kind in WRITERS}
