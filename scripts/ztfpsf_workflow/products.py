"""What a run has made so far: the report tells of that, whatever failed, and begins nothing."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256

Fit = Mapping[str, str]  # model and optimiser


def there(paths: Iterable[str]) -> list[str]:
    """Those of some files that exist."""
    return [path for path in paths if os.path.exists(path)]


def of_fit(pattern: str, fit: Fit) -> str:
    """The pattern of a product of one fit; {unit} and other wildcards stay."""
    for name, value in fit.items():
        pattern = pattern.replace(f"{{{name}}}", value)
    return pattern


def find_made(pattern: str, fits: Iterable[Fit], units: Collection[str]) -> list[str]:
    """One product of some fits of all units, as far as it is there."""
    patterns = [of_fit(pattern, fit) for fit in fits]
    return there(pattern.format(unit=unit) for pattern in patterns for unit in units)


def list_products(outputs: Mapping[str, Mapping[str, str]], fits: Sequence[Fit]) -> list[list[str]]:
    """Rule, name, model, optimiser and pattern of all that can be made of an image.

    `outputs`: patterns of the products of the rules, by rule and name.
    """
    stem = "results/calibrate_science/{exposure}/{image}"
    products = [
        ["calibrate_science", kind, "", "", f"{stem}_{kind}.fits"]
        for kind in ("sciimg", "varimg", "mskimg")
    ]
    for rule, patterns in outputs.items():
        for name, pattern in patterns.items():
            for fit in fits if "{model}" in pattern else [{"model": "", "optimiser": ""}]:
                place = fit["model"], fit["optimiser"]
                products.append([rule, name, *place, of_fit(pattern, fit)])
    return products


def digest_files(rules: Iterable[str]) -> str:
    """Changes when a file below results/ of some rules is made or removed."""
    files = sorted(
        f"{folder}/{file}"
        for rule in rules
        for folder, _, files in os.walk(f"results/{rule}")
        for file in files
    )
    return sha256("\n".join(files).encode()).hexdigest()[:12]
