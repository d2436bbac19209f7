"""What docs/products.md says of the columns of tables."""

import re
from pathlib import Path

PRODUCTS = (Path(__file__).parents[2] / "docs" / "products.md").read_text()


def documented(product: str) -> set[str]:
    """Columns that docs/products.md lists of a product."""
    (section,) = re.findall(rf"### `{re.escape(product)}`.*?\n(.*?)(?=\n###|\Z)", PRODUCTS, re.S)
    (table,) = re.findall(r"\| column \|.*?\n((?:\|.*\n?)+)", section)
    return {
        name for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])
    }


def without_errors(names: set[str]) -> set[str]:
    """Most errors follow a rule, and are not listed."""
    return {name for name in names if "_error" not in name}


def is_documented(found: set[str], listed: set[str]) -> bool:
    """Whether all columns are listed, less errors, and no others."""
    return without_errors(found) == without_errors(listed) and listed <= found
