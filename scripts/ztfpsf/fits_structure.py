"""Where the HDUs of a FITS file begin and end, read from its bytes before a library believes them.

A header that announces 10^8 axes or columns keeps astropy busy without end, one of 10^8 pixels a
side asks for 261 GiB. FITS standard 4.0: blocks of 2880 bytes, cards of 80.
"""

import math
import re
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple

import numpy as np

_BLOCK = 2880
_CARD = 80
# Some 20 times what the headers of ZTF have.
_MAX_HEADER_BLOCKS = 1000
# The standard's limit on axes and on columns.
_MAX_COUNT = 999
# Of the algorithms of tile compression PLIO packs best, 4095 equal pixels in 16 bits.
_MAX_PIXELS_PER_PACKED_BYTE = 4095 / 2
_STRUCTURE = re.compile(r"BITPIX|Z?NAXIS\d*|[PG]COUNT|TFIELDS")
_ALL_ONES = 0xFFFFFFFF


class Hdu(NamedTuple):
    """One header and its data: bytes header_start..data_start-1, and n_bytes from there."""

    name: str
    header_start: int
    data_start: int
    n_bytes: int
    cards: Mapping[str, str]  # values as text

    @property
    def stop(self) -> int:
        """Where the next HDU begins: data fill whole blocks."""
        return self.data_start + math.ceil(self.n_bytes / _BLOCK) * _BLOCK


def read_structure(file: BinaryIO, length: int) -> list[Hdu]:
    """The HDUs of a file of `length` bytes; the data of the last may end beyond it.

    Raises ValueError for a header without end, or with numbers that no file can have.
    """
    hdus: list[Hdu] = []
    start = 0
    while start < length and _begins_hdu(file, start, len(hdus)):
        cards, data_start = _read_cards(file, start)
        name = cards.get("EXTNAME", "") if hdus else "PRIMARY"
        hdus.append(Hdu(name, start, data_start, _count_bytes(cards), cards))
        start = hdus[-1].stop
    return hdus


def has_sum(file: BinaryIO, hdu: Hdu, keyword: str) -> bool:
    """Whether the bytes of an HDU agree with its DATASUM or CHECKSUM; True if it has none.

    Both are sums of words of 32 bits in ones' complement; CHECKSUM makes that of the whole HDU
    zero (FITS standard 4.0, appendix J).
    """
    if keyword not in hdu.cards:
        return True
    start = hdu.data_start if keyword == "DATASUM" else hdu.header_start
    file.seek(start)
    content = file.read(hdu.stop - start)
    words = np.frombuffer(content.ljust(math.ceil(len(content) / 4) * 4, b"\0"), ">u4")
    total = int(words.sum(dtype=np.uint64))
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return str(total) in ({hdu.cards[keyword]} if keyword == "DATASUM" else {"0", str(_ALL_ONES)})


def _begins_hdu(file: BinaryIO, start: int, n_before: int) -> bool:
    file.seek(start)
    return file.read(9) == (b"XTENSION=" if n_before else b"SIMPLE  =")


def _read_cards(file: BinaryIO, start: int) -> tuple[dict[str, str], int]:
    """Keywords with their values, and where the data begin."""
    file.seek(start)
    cards: dict[str, str] = {}
    for block in range(_MAX_HEADER_BLOCKS):
        content = file.read(_BLOCK).decode("ascii", "replace")
        for card in (content[i : i + _CARD] for i in range(0, len(content), _CARD)):
            keyword = card[:8].rstrip()
            if keyword == "END":
                return cards, start + (block + 1) * _BLOCK
            if card[8:10] == "= ":
                value = card[10:].partition("/")[0].strip()
                cards.setdefault(keyword, value.strip("'").strip())
        if len(content) < _BLOCK:
            break
    raise ValueError("a header has no end")


def _count_bytes(cards: Mapping[str, str]) -> int:
    """Size of the data that a header announces, of which ValueError if it cannot be."""
    numbers = {key: _to_count(key, cards[key]) for key in filter(_STRUCTURE.fullmatch, cards)}
    if "BITPIX" not in numbers or "NAXIS" not in numbers:
        raise ValueError("a header has no BITPIX or NAXIS")
    n_axes = numbers["NAXIS"]
    sides = [numbers.get(f"NAXIS{axis + 1}", -1) for axis in range(n_axes)]
    if min(sides, default=0) < 0:
        raise ValueError(f"a header has NAXIS = {n_axes} but not as many NAXISn")
    count = math.prod(sides) + numbers.get("PCOUNT", 0) if n_axes else 0
    n_bytes = abs(numbers["BITPIX"]) // 8 * numbers.get("GCOUNT", 1) * count
    packed = [numbers.get(f"ZNAXIS{axis + 1}", 0) for axis in range(numbers.get("ZNAXIS", 0))]
    if packed and math.prod(packed) > n_bytes * _MAX_PIXELS_PER_PACKED_BYTE:
        raise ValueError(f"{' x '.join(map(str, packed))} pixels cannot come from {n_bytes} bytes")
    return n_bytes


def _to_count(keyword: str, text: str) -> int:
    """A card of the structure as a number. Raises ValueError for what cannot be one."""
    limit = _MAX_COUNT if keyword in ("NAXIS", "ZNAXIS", "TFIELDS") else math.inf
    number = int(text) if re.fullmatch(r"-?\d+", text) else -1
    if not (0 <= number <= limit or (keyword == "BITPIX" and abs(number) <= 64)):
        raise ValueError(f"a header has {keyword} = {text or 'nothing'}")
    return number
