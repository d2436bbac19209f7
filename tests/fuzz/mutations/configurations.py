"""Configurations: values of other types and sizes, misspelt and missing keys."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import yaml

from fuzz.cases import Expected, Mutant, Mutation

# What no number of the configuration can be.
NO_NUMBERS = (math.nan, math.inf, -math.inf, "text", "1,5", [], {}, [1.0, [2]], True, 10**80, "é\n")
VALUES = (0, 1, -1, 0.5, 1e300, 1e-300, 2**53, -1e6, 3, 1000, "", "1e400", None, [0.0], {"a": 1})
Path = tuple[str | int, ...]


def replace_value(content: bytes, rng: np.random.Generator) -> Mutant:
    """Another value for one key, or for an item of a list."""
    config = yaml.safe_load(content)
    paths = _list_leaves(config)
    path = paths[rng.integers(len(paths))]
    value = (VALUES + NO_NUMBERS)[rng.integers(len(VALUES + NO_NUMBERS))]
    block = _find(config, path[:-1])
    is_number = isinstance(block[path[-1]], int | float) and not isinstance(block[path[-1]], bool)
    is_wrong = is_number and any(value is other for other in NO_NUMBERS)
    block[path[-1]] = value
    expected = Expected.REFUSED if is_wrong else Expected.ANY
    return Mutant(_dump(config), expected, f"{_name(path)} = {str(value)[:40]}")


def misspell_key(content: bytes, rng: np.random.Generator) -> Mutant:
    config = yaml.safe_load(content)
    path = _choose_key(config, rng)
    key = str(path[-1])
    block = _find(config, path[:-1])
    other: Any = [key[:-1], key.upper(), f"{key} ", 7, "é", None, 1.5, True][rng.integers(8)]
    block[other] = block.pop(key)
    return Mutant(_dump(config), Expected.REFUSED, f"{_name(path)} is called {other}")


def lose_key(content: bytes, rng: np.random.Generator) -> Mutant:
    config = yaml.safe_load(content)
    path = _choose_key(config, rng)
    del _find(config, path[:-1])[path[-1]]
    return Mutant(_dump(config), Expected.REFUSED, f"without {_name(path)}")


def replace_block(content: bytes, rng: np.random.Generator) -> Mutant:
    """Something else in place of a block of keys."""
    config = yaml.safe_load(content)
    blocks = [key for key, value in config.items() if isinstance(value, dict)]
    key = str(rng.choice(blocks))
    config[key] = [None, [], 3, "text", {}, [{}], math.nan][rng.integers(7)]
    return Mutant(_dump(config), Expected.REFUSED, f"{key} = {config[key]}")


def write_numbers_as_text(content: bytes, rng: np.random.Generator) -> Mutant:
    """As Snakemake's --config gives them: no damage."""
    config = yaml.safe_load(content)
    for path in _list_leaves(config):
        block = _find(config, path[:-1])
        value = block[path[-1]]
        if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.5:
            block[path[-1]] = str(value)
    return Mutant(_dump(config), Expected.SAME, "numbers as texts")


def _list_leaves(value: Any, path: Path = ()) -> list[Path]:
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in _list_leaves(part, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for k, part in enumerate(value) for leaf in _list_leaves(part, (*path, k))]
    return [path]


def _choose_key(config: dict, rng: np.random.Generator) -> Path:
    """The path of a key, no item of a list."""
    paths = [path for path in _list_leaves(config) if all(isinstance(name, str) for name in path)]
    return paths[rng.integers(len(paths))]


def _find(value: Any, path: Path) -> Any:
    for name in path:
        value = value[name]
    return value


def _name(path: Path) -> str:
    return ".".join(map(str, path))


def _dump(config: dict) -> bytes:
    return yaml.safe_dump(config, allow_unicode=True, sort_keys=False).encode()


DAMAGES: Sequence[Mutation] = (
    replace_value,
    replace_value,
    replace_value,
    misspell_key,
    lose_key,
    replace_block,
    write_numbers_as_text,
)
