"""FITS images whose bytes are in order and whose pixels are not."""

import io
from collections.abc import Sequence

import numpy as np
from astropy.io import fits

from fuzz.cases import Expected, Mutant, Mutation

VALUES = (np.nan, np.inf, -np.inf, 1e38, -1e38, 65535.0, 0.0, -32768.0, 1e30)


def set_region(content: bytes, rng: np.random.Generator) -> Mutant:
    """One value in a rectangle, or on single pixels."""
    data = _read(content)
    value = VALUES[rng.integers(len(VALUES))]
    if data.dtype.kind != "f":
        value = float(np.clip(np.nan_to_num(value), -32768, 32767))
    if rng.random() < 0.5:
        y, x = rng.integers(data.shape)
        height, width = rng.integers(1, data.shape)
        data[y : y + height, x : x + width] = value
        what = f"{value:g} in {height} x {width} pixels"
    else:
        data[rng.random(data.shape) < 0.02] = value
        what = f"{value:g} in 2 % of the pixels"
    return Mutant(_write(content, data), Expected.ANY, what)


def make_constant(content: bytes, rng: np.random.Generator) -> Mutant:
    """The same value everywhere."""
    data = _read(content)
    value = 0.0 if data.dtype.kind != "f" else VALUES[rng.integers(len(VALUES))]
    return Mutant(_write(content, np.full_like(data, value)), Expected.ANY, f"{value:g} everywhere")


def swap_bytes(content: bytes, rng: np.random.Generator) -> Mutant:
    """Pixels in the wrong byte order."""
    return Mutant(_write(content, _read(content).byteswap()), Expected.ANY, "swapped bytes")


def change_shape(content: bytes, rng: np.random.Generator) -> Mutant:
    """Fewer rows, other axes, more of them."""
    data = _read(content)
    shapes = {
        "transposed": data.T,
        "half of it": data[: len(data) // 2],
        "one row": data[:1],
        "one pixel": data[:1, :1],
        "a cube": data[None],
        "one axis": data.ravel(),
        "two planes": np.stack([data, data]),
    }
    what = str(rng.choice(list(shapes)))
    return Mutant(_write(content, shapes[what]), Expected.ANY, what)


def widen(content: bytes, rng: np.random.Generator) -> Mutant:
    """The same values in more bytes."""
    data = _read(content)
    wide = data.astype("f8" if data.dtype.kind == "f" else rng.choice(["i4", "i8"]))
    return Mutant(_write(content, wide), Expected.SAME, f"as {wide.dtype}")


def change_type(content: bytes, rng: np.random.Generator) -> Mutant:
    """Rounded to integers, or floats in place of integers."""
    kind = str(rng.choice(["u1", "i2", "u2", "i4", "f4"]))
    with np.errstate(invalid="ignore"):
        data = np.nan_to_num(_read(content)).astype(kind)
    return Mutant(_write(content, data), Expected.ANY, f"as {kind}")


def into_extension(content: bytes, rng: np.random.Generator) -> Mutant:
    """Behind an empty primary HDU."""
    with fits.open(io.BytesIO(content)) as hdus:
        image = fits.ImageHDU(hdus[0].data, hdus[0].header)
        out = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(out)
    return Mutant(out.getvalue(), Expected.SAME, "in an extension")


def _read(content: bytes) -> np.ndarray:
    with fits.open(io.BytesIO(content)) as hdus:
        data = hdus[0].data
        return data.astype(data.dtype.newbyteorder("="))


def _write(content: bytes, data: np.ndarray) -> bytes:
    """The file with other pixels."""
    with fits.open(io.BytesIO(content)) as hdus:
        header = hdus[0].header
    out = io.BytesIO()
    fits.PrimaryHDU(np.ascontiguousarray(data), header).writeto(out)
    return out.getvalue()


DAMAGES: Sequence[Mutation] = (
    set_region,
    make_constant,
    swap_bytes,
    change_shape,
    widen,
    change_type,
    into_extension,
)
