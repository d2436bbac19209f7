"""Few sizes of arrays, since each of them is compiled."""

import numpy as np

PADDED_SIZES = (64, 256, 512, 1024, 1536, 2048)


def padded_size(n: int) -> int:
    """The size to which n stars are padded."""
    for size in PADDED_SIZES:
        if n <= size:
            return size
    return -(-n // 512) * 512


def pad(array: np.ndarray, size: int) -> np.ndarray:
    """The array, filled up with zeros to a size of its first axis."""
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])
