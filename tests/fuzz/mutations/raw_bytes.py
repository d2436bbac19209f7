"""Damage that needs no knowledge of the format: disks, transfers, copies that broke off."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Sequence

import numpy as np

from fuzz.cases import Expected, Mutant, Mutation

BLOCK = 2880  # of FITS, and a likely size of what a copy loses
NO_DATA = {
    "empty": b"",
    "a page in place of the file": b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
    "zeros": bytes(20_000),
}


def flip_bits(content: bytes, rng: np.random.Generator) -> Mutant:
    """One to twenty bits anywhere."""
    n = int(rng.integers(1, 21))
    return _flip(content, rng.integers(0, 8 * len(content), n), f"{n} bits are flipped")


def flip_first_bits(content: bytes, rng: np.random.Generator) -> Mutant:
    """One bit in the first blocks, where headers are."""
    (bit,) = rng.integers(0, 8 * min(len(content), 2 * BLOCK), 1)
    return _flip(content, np.array([bit]), f"bit {bit} is flipped")


def _flip(content: bytes, bits: np.ndarray, what: str) -> Mutant:
    changed = bytearray(content)
    for bit in bits:
        changed[bit // 8] ^= 1 << (bit % 8)
    return Mutant(bytes(changed), Expected.ANY, what)


def truncate(content: bytes, rng: np.random.Generator) -> Mutant:
    """A copy that broke off."""
    length = int(len(content) * rng.choice([0.01, 0.2, 0.5, 0.8, 0.95]))
    return Mutant(content[:length], Expected.ANY, f"{length} of {len(content)} bytes")


def transfer_as_text(content: bytes, rng: np.random.Generator) -> Mutant:
    """Line ends of another system, in binary data as well."""
    ends = [(b"\n", b"\r\n"), (b"\r\n", b"\n"), (b"\r", b"\n"), (b"\n", b"\r")]
    old, new = ends[rng.integers(len(ends))]
    return Mutant(content.replace(old, new), Expected.ANY, f"{old!r} -> {new!r}")


def strip_high_bits(content: bytes, rng: np.random.Generator) -> Mutant:
    """A channel of 7 bits."""
    return Mutant(bytes(byte & 0x7F for byte in content), Expected.ANY, "7 bits of each byte")


def lose_block(content: bytes, rng: np.random.Generator) -> Mutant:
    start = _choose_block(content, rng)
    changed = content[:start] + content[start + BLOCK :]
    return Mutant(changed, Expected.ANY, f"a block at {start} is lost")


def blank_block(content: bytes, rng: np.random.Generator) -> Mutant:
    start = _choose_block(content, rng)
    changed = content[:start] + bytes(len(content[start : start + BLOCK]))
    return Mutant(
        changed + content[start + BLOCK :], Expected.ANY, f"zeros in the block at {start}"
    )


def repeat_block(content: bytes, rng: np.random.Generator) -> Mutant:
    start = _choose_block(content, rng)
    changed = content[: start + BLOCK] + content[start:]
    return Mutant(changed, Expected.ANY, f"the block at {start} is there twice")


def _choose_block(content: bytes, rng: np.random.Generator) -> int:
    return BLOCK * int(rng.integers(len(content) // BLOCK + 1))


def replace_all(content: bytes, rng: np.random.Generator) -> Mutant:
    """Something else in place of the file."""
    what = str(rng.choice([*NO_DATA, "noise"]))
    changed = NO_DATA[what] if what in NO_DATA else rng.bytes(5000)
    return Mutant(changed, Expected.REFUSED, what)


def pack(content: bytes, rng: np.random.Generator) -> Mutant:
    """Compressed, whatever the name says."""
    packers: list[Callable[[bytes], bytes]] = [gzip.compress, bz2.compress, lzma.compress]
    packer = packers[rng.integers(len(packers))]
    return Mutant(packer(content), Expected.SAME, packer.__module__)


def expect(expected: Expected, mutation: Mutation) -> Mutation:
    """The same mutation of a file where more can be expected; one that changed nothing is SAME."""

    def mutate(content: bytes, rng: np.random.Generator) -> Mutant:
        mutant = mutation(content, rng)
        is_same = mutant.content == content
        return mutant._replace(expected=Expected.SAME if is_same else expected)

    return mutate


DAMAGES: Sequence[Mutation] = (
    flip_bits,
    flip_first_bits,
    truncate,
    transfer_as_text,
    strip_high_bits,
    lose_block,
    blank_block,
    repeat_block,
    replace_all,
)
# Of a file with a checksum.
INTACT: Sequence[Mutation] = tuple(expect(Expected.INTACT, damage) for damage in DAMAGES)
