"""Readers with their good files."""

from fuzz.cases import Target
from fuzz.targets import broken, configuration, images, products, raw, sheets

_REAL = [
    *images.TARGETS,
    *raw.TARGETS,
    *sheets.TARGETS,
    *configuration.TARGETS,
    *products.TARGETS,
]
DEFAULT = [target.name for target in _REAL]
TARGETS: dict[str, Target] = {target.name: target for target in [*_REAL, *broken.TARGETS]}
