"""A program that validates a value against a schema; it is run with limits.

It reads both as one JSON list. It prints a list of the places that the schema does not allow, each
with the reason, or exits with the code UNUSABLE and says why the schema cannot be used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

from jsonschema_rs import FancyRegexOptions, ValidationError, ValidationErrorKind, validator_for

#: The exit code if standard error says why the schema cannot be used.
UNUSABLE = 4
#: Errors, characters of a reason.
_MOST, _LONGEST = 1000, 500
#: A pattern takes linear time. One with a look-around backtracks a thousand times at most.
_PATTERNS = FancyRegexOptions(backtrack_limit=1000, size_limit=1 << 20, dfa_size_limit=1 << 20)


def errors(schema: Any, value: Any) -> Iterator[tuple[list[str | int], str]]:
    """Yield each place of a value that its schema does not allow, and why.

    Nothing is retrieved: a schema of elsewhere demands nothing, nor does a format. Raises
    ValueError if the schema cannot be used.
    """
    validator = validator_for(
        schema,
        validate_formats=False,
        retriever=lambda _: {},
        mask="the value",  # it may be a secret, or long
        pattern_options=_PATTERNS,
    )
    for error in validator.iter_errors(value):
        kind, path = error.kind, _with_keys(error.instance_path, value)
        if isinstance(kind, ValidationErrorKind.AdditionalProperties):
            for key in kind.unexpected:
                yield [*path, key], f"the schema has no '{key[:_LONGEST]}' here"
        elif isinstance(kind, ValidationErrorKind.Enum) and not kind.options:
            yield path, "the schema allows no value here"
        elif not isinstance(kind, ValidationErrorKind.BacktrackLimitExceeded):
            yield path, error.message[:_LONGEST]


def _with_keys(path: list[str | int], value: Any) -> list[str | int]:
    """Return a path in which an object's keys are texts: the library makes "950" a number."""
    place: list[str | int] = []
    for part in path:
        key = str(part) if isinstance(value, dict) else part
        if isinstance(value, dict) and key not in value:
            break  # such as "007"
        place.append(key)
        value = value[key]
    return place


def main() -> None:
    """Validate what standard input names."""
    try:
        print(json.dumps(list(islice(errors(*json.load(sys.stdin.buffer)), _MOST))))
    except ValidationError as error:
        where = ".".join(map(str, error.instance_path)) or "the schema"
        _refuse(f"{where}: {error.message}")
    except (ValueError, RecursionError) as error:
        _refuse(str(error))


def _refuse(why: str) -> None:
    print(why[:_LONGEST], file=sys.stderr)
    sys.exit(UNUSABLE)


if __name__ == "__main__":
    main()
