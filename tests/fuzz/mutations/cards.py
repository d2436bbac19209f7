"""FITS headers: cards that a disk, an editor or another program spoilt."""

import io
import re
from collections.abc import Callable, Sequence

import numpy as np
from astropy.io import fits
from ztfpsf.fits_structure import read_structure

from fuzz.cases import Expected, Mutant, Mutation
from fuzz.mutations.raw_bytes import BLOCK

CARD = 80
NO_NUMBERS = ("nan", "inf", "-nan(ind)", "'text'", "", "3:51:59", "1,5", "--", "'", "T", "(1,2)")
NUMBERS = ("0", "-1", "1E300", "1e400", "99999999999999999999", "0.5", "-99", "1E-300", "65535")
STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|Z?BITPIX|Z?NAXIS\d*|[PG]COUNT|TFIELDS|T(FORM|TYPE)\d|END|"
    r"B(ZERO|SCALE)|BLANK|Z[A-Z]+\d*"
)


def replace_value(needed: Sequence[str], unused: Sequence[str]) -> Mutation:
    """Another value for one card.

    `needed`: keywords without whose number there is no answer; `unused`: those it does not depend
    on.
    """

    def mutate(content: bytes, rng: np.random.Generator) -> Mutant:
        chosen = [*needed, *needed, *unused] or list_keywords(content)
        keyword = str(rng.choice(chosen))
        text = str(rng.choice([*NO_NUMBERS, *NUMBERS]))
        expected = Expected.ANY
        if keyword in needed and text in NO_NUMBERS:
            expected = Expected.REFUSED
        if keyword in unused:
            expected = Expected.SAME
        return Mutant(_replace(content, keyword, text, rng), expected, f"{keyword} = {text}")

    return mutate


def replace_structure(content: bytes, rng: np.random.Generator) -> Mutant:
    """Another number where the file says how it is built."""
    keywords = [keyword for keyword in list_keywords(content) if STRUCTURE.fullmatch(keyword)]
    keyword = str(rng.choice(keywords))
    text = str(rng.choice(["-5", "0", "1", "7", "100000000", "nan", "", "'abc'", "9" * 20, "T"]))
    return Mutant(_replace(content, keyword, text, rng), Expected.ANY, f"{keyword} = {text}")


def garble_card(content: bytes, rng: np.random.Generator) -> Mutant:
    """Letters of all kinds in one card."""
    (start, *_), keyword = _choose_card(content, rng)
    where = start + int(rng.integers(CARD - 4))
    letters = rng.choice(np.array([b"\xe9\xe8", b"\x00\x00", b"\n\n", b"''''", b"===="], object))
    changed = content[:where] + letters + content[where + len(letters) :]
    return Mutant(changed, Expected.ANY, f"{letters!r} in the card {keyword}")


def lose_card(content: bytes, rng: np.random.Generator) -> Mutant:
    """One card becomes blank."""
    (start, *_), keyword = _choose_card(content, rng)
    changed = content[:start] + b" " * CARD + content[start + CARD :]
    return Mutant(changed, Expected.ANY, f"without {keyword}")


def lose_header_block(content: bytes, rng: np.random.Generator) -> Mutant:
    hdus = _list_hdus(content)
    hdu = hdus[rng.integers(len(hdus))]
    n_blocks = (hdu.data_start - hdu.header_start) // BLOCK
    start = hdu.header_start + BLOCK * int(rng.integers(n_blocks))
    changed = content[:start] + content[start + BLOCK :]
    return Mutant(changed, Expected.ANY, f"without the header's block at {start}")


def add_comments(content: bytes, rng: np.random.Generator) -> Mutant:
    """Cards that say nothing, which is no damage."""
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        for hdu in hdus:
            hdu.header["COMMENT"] = "no damage"
            hdu.header["HIERARCH a long keyword"] = 1.5
        out = io.BytesIO()
        hdus.writeto(out, output_verify="silentfix")
    return Mutant(out.getvalue(), Expected.SAME, "comments are added")


def list_keywords(content: bytes) -> list[str]:
    keywords = {keyword for _, keyword in _list_cards(content)}
    return sorted(keywords - {"", "COMMENT", "HISTORY", "CONTINUE"})


def _list_hdus(content: bytes) -> list:
    return read_structure(io.BytesIO(content), len(content))


def _list_cards(content: bytes) -> list[tuple[int, str]]:
    """Where cards begin, and their keywords."""
    return [
        (start, content[start : start + 8].decode("ascii").strip())
        for hdu in _list_hdus(content)
        for start in range(hdu.header_start, hdu.data_start, CARD)
    ]


def _choose_card(
    content: bytes, rng: np.random.Generator, is_wanted: Callable[[str], bool] = bool
) -> tuple[list[int], str]:
    """Where the cards of one keyword begin, in random order, and the keyword."""
    cards = [(start, keyword) for start, keyword in _list_cards(content) if is_wanted(keyword)]
    _, chosen = cards[rng.integers(len(cards))]
    return list(rng.permutation([start for start, keyword in cards if keyword == chosen])), chosen


def _replace(content: bytes, keyword: str, text: str, rng: np.random.Generator) -> bytes:
    """Put a text where a card has its value, as no FITS library would."""
    (start, *_), _ = _choose_card(content, rng, lambda name: name == keyword)
    card = f"{keyword:8}= {text:>20} / fuzz".ljust(CARD)[:CARD].encode()
    return content[:start] + card + content[start + CARD :]


DAMAGES: Sequence[Mutation] = (
    replace_structure,
    garble_card,
    lose_card,
    lose_header_block,
    replace_value((), ()),
)
