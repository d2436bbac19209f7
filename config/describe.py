"""Write the table of config/README.md from config/schema.yaml and config/config.yaml."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
BEGIN, END = "<!-- table: make docs -->\n", "<!-- end of table -->\n"


def rows(
    schema: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Key, default and meaning of every key, blocks before their keys."""
    for name, part in schema["properties"].items():
        default = defaults[name]
        is_block = isinstance(default, dict)
        shown = "" if is_block else f"`{json.dumps(default)}`"
        if "enum" in part:
            shown += f" of {', '.join(f'`{value}`' for value in part['enum'])}"
        yield f"`{prefix}{name}`", shown, part["description"]
        if is_block:
            yield from rows(part, default, f"{prefix}{name}.")


def table() -> str:
    """The table in Markdown."""
    schema = yaml.safe_load((FOLDER / "schema.yaml").read_text("utf-8"))
    defaults = yaml.safe_load((FOLDER / "config.yaml").read_text("utf-8"))
    lines = [("key", "default", "meaning"), ("---", "---", "---"), *rows(schema, defaults)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def with_table(text: str) -> str:
    """The text of config/README.md with its table up to date."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + table() + "\n" + END + after


if __name__ == "__main__":
    readme = FOLDER / "README.md"
    readme.write_text(with_table(readme.read_text("utf-8")), "utf-8")
