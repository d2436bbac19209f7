"""One sentence for each way in which a configuration can miss its schema."""

from typing import Any

from jsonschema import ValidationError
from ztfpsf.sheet import suggest

# What each keyword of the schema asks for.
MUST = {
    "type": "be {}",
    "enum": "be one of {}",
    "not": "be odd",
    "required": "have the keys {}",
    "minimum": "be at least {}",
    "maximum": "be at most {}",
    "exclusiveMinimum": "be more than {}",
    "exclusiveMaximum": "be less than {}",
    "minItems": "have {} entries or more",
    "maxItems": "have {} entries or fewer",
    "uniqueItems": "name each entry once",
    "pattern": "have the form {}",
}
KINDS = {
    "object": "a block of keys",
    "array": "a list",
    "string": "a text",
    "integer": "an integer of at most 15 digits",
    "number": "a finite number",
    "boolean": "true or false",
    "null": "null",
}
_LONGEST = 60


def describe_error(error: ValidationError) -> str:
    """Key, its value, what it must be, and what it means."""
    key = error.json_path.removeprefix("$").removeprefix(".")
    if error.validator == "additionalProperties":
        return _describe_unknown_key(error, key)
    must = MUST[str(error.validator)].format(_describe_wanted(error))
    meaning = error.schema.get("description", "").split(". ")[0].rstrip(".")
    return f"config: key '{key}' is {_shorten(error.instance)}; it must {must}" + (
        f" ({meaning})." if meaning else "."
    )


def _describe_wanted(error: ValidationError) -> Any:
    wanted = error.validator_value
    if error.validator == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return " or ".join(KINDS[kind] for kind in kinds)
    return ", ".join(map(str, wanted)) if isinstance(wanted, list) else wanted


def _describe_unknown_key(error: ValidationError, key: str) -> str:
    valid = error.schema["properties"]
    wrong = next(name for name in error.instance if name not in valid)
    name = f"{key}.{wrong}" if key else wrong
    return (
        f"config: there is no key '{name}'{suggest(wrong, list(valid))}; "
        f"{key or 'the top level'} has {', '.join(valid)}."
    )


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
