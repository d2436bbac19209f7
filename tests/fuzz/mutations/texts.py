"""Sheets: what spreadsheets, editors and hands make of a text."""

from collections.abc import Sequence

import numpy as np

from fuzz.cases import Expected, Mutant, Mutation

CELLS = (
    "",
    "x",
    "nan",
    "-1",
    "é",
    "ztf_20200230431759_000655_zr_c13_o_q3",
    "../..",
    "a b",
    "{x}",
    "http://a.org/b.fits",
    "\0",
    '"',
    "9" * 5000,
)


def save_otherwise(content: bytes, rng: np.random.Generator) -> Mutant:
    """As other programs save the same table."""
    text = content.decode()
    ways = {
        "byte-order mark": b"\xef\xbb\xbf" + content,
        "CRLF": content.replace(b"\n", b"\r\n"),
        "blanks after commas": text.replace(",", ", ").encode(),
        "no end of the last line": content.rstrip(b"\n"),
        "blank lines": text.replace("\n", "\n\n").encode(),
        "comments": ("# by hand\n" + text.replace("\n", "\n# more\n")).encode(),
        "quotes": "\n".join(
            ",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines()
        ).encode(),
    }
    what = str(rng.choice(list(ways)))
    return Mutant(ways[what], Expected.SAME, what)


def encode_otherwise(content: bytes, rng: np.random.Generator) -> Mutant:
    """No UTF-8."""
    kind = str(rng.choice(["utf-16", "utf-32", "latin-1"]))
    text = content.decode() + ("# à la main" if kind == "latin-1" else "")
    expected = Expected.ANY if kind == "latin-1" else Expected.REFUSED
    return Mutant(text.encode(kind), expected, kind)


def change_separator(content: bytes, rng: np.random.Generator) -> Mutant:
    separator = str(rng.choice([";", "\t", " ", "|"]))
    changed = content.decode().replace(",", separator).encode()
    return Mutant(changed, Expected.ANY, f"{separator!r} in place of commas")


def change_cell(content: bytes, rng: np.random.Generator) -> Mutant:
    rows = _to_rows(content)
    y = int(rng.integers(len(rows)))
    x = int(rng.integers(len(rows[y])))
    cell = str(rng.choice(CELLS))
    what = f"{cell[:40]!r} in place of {rows[y][x]!r}"
    rows[y][x] = cell
    return Mutant(_to_text(rows), Expected.ANY, what)


def change_columns(content: bytes, rng: np.random.Generator) -> Mutant:
    """Lose, repeat or add a cell in one row."""
    rows = _to_rows(content)
    row = rows[int(rng.integers(len(rows)))]
    what = str(rng.choice(["a cell less", "a cell twice", "a cell more"]))
    if what == "a cell less":
        row.pop()
    else:
        row.append(row[0] if what == "a cell twice" else "")
    return Mutant(_to_text(rows), Expected.ANY, what)


def change_rows(content: bytes, rng: np.random.Generator) -> Mutant:
    rows = _to_rows(content)
    ways = {
        "header alone": (rows[:1], Expected.REFUSED),
        "no header": (rows[1:], Expected.REFUSED),
        "a row twice": ([*rows, rows[-1]], Expected.REFUSED),
        "header twice": ([rows[0], *rows], Expected.REFUSED),
        "other order": ([rows[0], *rows[:0:-1]], Expected.SAME),
    }
    what = str(rng.choice(list(ways)))
    changed, expected = ways[what]
    return Mutant(_to_text(changed), expected, what)


def _to_rows(content: bytes) -> list[list[str]]:
    return [line.split(",") for line in content.decode().splitlines()]


def _to_text(rows: list[list[str]]) -> bytes:
    return ("\n".join(",".join(row) for row in rows) + "\n").encode()


DAMAGES: Sequence[Mutation] = (
    save_otherwise,
    encode_otherwise,
    change_separator,
    change_cell,
    change_columns,
    change_rows,
)
