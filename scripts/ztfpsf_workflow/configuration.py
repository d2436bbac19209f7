"""The configuration: defaults and what the user changed, checked before any work begins."""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from ztfpsf.errors import InputError

from ztfpsf_workflow.contradictions import check_contradictions
from ztfpsf_workflow.wording import describe_error

# Integers up to here are doubles, too; larger ones are slips of the pen.
LARGEST_INTEGER = 2**53


def read_configuration(config: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """The configuration with numbers where the schema asks for them.

    `base` holds the Snakefile. Raises InputError naming the first key that is wrong.
    """
    schema = yaml.safe_load((base / "config" / "schema.yaml").read_text("utf-8"))
    checked = to_numbers(config, schema)
    check_schema(checked, schema)
    check_contradictions(checked, base / "scripts" / "ztfpsf")
    return checked


def to_numbers(value: Any, schema: Mapping[str, Any]) -> Any:
    """A configuration with its texts turned into what the schema asks for, keys into texts.

    YAML reads 1e-9 as a text, and Snakemake all values of --config 'cut_stamps={size_px: 17}'.
    """
    if isinstance(value, Mapping):
        parts = schema.get("properties", {})
        return {str(key): to_numbers(part, parts.get(key, {})) for key, part in value.items()}
    if isinstance(value, list):
        return [to_numbers(part, schema.get("items", {})) for part in value]
    kinds = schema.get("type", "")
    if isinstance(value, str):
        return to_number(value, kinds)
    return int(value) if "integer" in kinds and _is_whole(value) else value


def to_number(text: str, kinds: str | list[str]) -> Any:
    """What a text says, as the first kind (a type of the schema) that it can be."""
    for kind, words in (
        ("null", {"null": None}),
        ("boolean", {"true": True, "false": False}),
    ):
        if kind in kinds and text.lower() in words:
            return words[text.lower()]
    for kind, convert in (("integer", int), ("number", int), ("number", float)):
        if kind in kinds:
            with suppress(ValueError):
                return convert(text)
    return text


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_INTEGER


def _is_integer(_: Any, value: Any) -> bool:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return is_int and abs(value) <= LARGEST_INTEGER


def _is_number(checker: Any, value: Any) -> bool:
    """A finite one: limits of NaN pass every image."""
    return _is_integer(checker, value) or (isinstance(value, float) and math.isfinite(value))


_Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)


def check_schema(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise InputError naming the first key that the schema refuses, or that is missing."""
    errors = _Validator(schema).iter_errors(config)
    # A misspelt key explains the other errors.
    first = min(
        errors,
        key=lambda error: (error.validator != "additionalProperties", error.json_path),
        default=None,
    )
    if first:
        raise InputError(describe_error(first))
    missing = next(_missing_keys(config, schema), None)
    if missing:
        raise InputError(
            f"config: key '{missing}' is missing; config/config.yaml shows its default."
        )


def _missing_keys(
    block: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        if name not in block:
            yield prefix + name
        elif isinstance(block[name], dict):
            yield from _missing_keys(block[name], part, f"{prefix}{name}.")
