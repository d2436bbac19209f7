"""Random numbers that depend on the seed and on what is drawn, not on the order of drawing."""

import zlib

import numpy as np


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """Generator of one purpose, e.g. `generator(7, "frame", "ztf_..._b")`.

    Equal seeds and keys give equal numbers, whatever was drawn before or beside.
    """
    words = [zlib.crc32(str(part).encode()) for part in key]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))
