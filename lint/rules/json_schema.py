"""JSON against a schema, as far as schemas of settings go.

Of JSON Schema: type, enum, const, required, properties, patternProperties, additionalProperties,
items, minimum, maximum, minLength, pattern, and $ref within the schema. A keyword that is not
known here demands nothing. Source: JSON Schema 2020-12.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lint.finding import Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lint.json_text import Path

MISMATCH = Rule(
    "json-schema",
    Severity.ERROR,
    "a file does not match its own schema",
    "The program that the schema is written for reads something else than was meant, or refuses "
    "the file.",
    "Correct the value, or the schema.",
)
RULES = (MISMATCH,)

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool))
        or (isinstance(value, float) and value.is_integer())
    ),
}
#: A schema's patterns are somebody else's: only those that are quick whatever they are asked.
_LONGEST_PATTERN, _MOST_REPEATS, _LONGEST_TEXT = 300, 1, 2000
_DEEPEST = 30


def mismatches(schema: Any, value: Any) -> Iterator[tuple[Path, str]]:
    """Yield each place of a value that its schema does not allow, and why."""
    yield from _against(schema, schema, value, (), 0)


def _against(root: Any, schema: Any, value: Any, path: Path, depth: int) -> Iterator[Any]:
    schema = _resolved(root, schema)
    if schema is False:
        yield path, "nothing is allowed here"
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return
    if why := _plain(schema, value):
        yield path, why
        return
    if isinstance(value, dict):
        yield from _object(root, schema, value, path, depth)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for number, item in enumerate(value):
            yield from _against(root, schema["items"], item, (*path, number), depth + 1)


def _resolved(root: Any, schema: Any) -> Any:
    """Return what a schema's reference names; what is outside of the schema demands nothing."""
    for _ in range(_DEEPEST):
        name = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(name, str):
            return schema
        found = root
        for part in name.removeprefix("#").strip("/").split("/") if name.startswith("#") else ():
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) and key else found
        schema = found if found is not root else {}
    return {}


def _plain(schema: dict[str, Any], value: Any) -> str:
    """Return why a value itself is not allowed, whatever is in it; else nothing."""
    kinds = schema.get("type", [])
    names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    tests = [_TYPES[name] for name in names if isinstance(name, str) and name in _TYPES]
    if tests and not any(test(value) for test in tests):
        return f"it is no {' or '.join(map(str, names))}"
    if isinstance(schema.get("enum"), list) and value not in schema["enum"]:
        return f"it is none of {', '.join(map(repr, schema['enum'][:10]))}"
    if "const" in schema and value != schema["const"]:
        return f"it is not {schema['const']!r:.100}"
    if isinstance(value, str):
        least, pattern = schema.get("minLength"), schema.get("pattern")
        if isinstance(least, int) and len(value) < least:
            return f"it is shorter than {least} characters"
        if isinstance(pattern, str) and _searched(pattern, value) is False:
            return f"it does not match {pattern:.100}"
    return _bounded(schema, value)


def _bounded(schema: dict[str, Any], value: Any) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if _TYPES["number"](value):
        if _TYPES["number"](least) and value < least:
            return f"it is less than {least}"
        if _TYPES["number"](most) and value > most:
            return f"it is more than {most}"
    return ""


def _object(
    root: Any, schema: dict[str, Any], value: dict[str, Any], path: Path, depth: int
) -> Iterator[Any]:
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if isinstance(name, str) and name not in value:
            yield path, f"'{name}' is missing"
    named, by_pattern = (_mapping(schema.get(k)) for k in ("properties", "patternProperties"))
    for key, item in value.items():
        below = [named[key]] if key in named else []
        fits = [(_searched(pattern, key), each) for pattern, each in by_pattern.items()]
        below += [each for matched, each in fits if matched]
        unknown = any(matched is None for matched, _ in fits)
        if not below and not unknown and "additionalProperties" in schema:
            if schema["additionalProperties"] is False:
                yield (*path, key), f"the schema has no '{key}' here"
            below = [schema["additionalProperties"]]
        for each in below:
            if each is not False:
                yield from _against(root, each, item, (*path, key), depth + 1)


def _mapping(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _searched(pattern: str, text: str) -> bool | None:
    """Whether a pattern is found in a text; None where it is too dangerous to search for."""
    repeats = len(re.findall(r"[*+{]", pattern))
    if max(len(pattern) / _LONGEST_PATTERN, repeats / _MOST_REPEATS) > 1:
        return None
    if re.search(r"\)[*+{?]|\\[1-9]", pattern) or len(text) > _LONGEST_TEXT:
        return None
    try:
        return re.search(pattern, text) is not None
    except (re.error, RecursionError, OverflowError):
        return None
