"""JSON against its schema.

A schema is foreign, and a few lines of one can ask for more time and memory than there is. So the
library works in a process of its own, with limits.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from lint.finding import Problem, Severity
from lint.phoenix import schema_errors
from targets.errors import TransportError
from targets.transport import Local

if TYPE_CHECKING:
    from lint.json_text import Path

MISMATCH = Problem(
    "json-schema",
    Severity.ERROR,
    "a file does not match its own schema",
    "The program that the schema is written for reads something else than was meant, or refuses "
    "the file.",
    "Correct the value, or the schema.",
)
RULES = (MISMATCH,)


class Unusable(Exception):
    """A schema by which nothing can be judged; the text says why."""


def mismatches(schema: Any, value: Any) -> list[tuple[Path, str]]:
    """Return each place of a value that its schema does not allow, and why.

    Raises:
        Unusable: the schema is invalid, or asks for too much.
    """
    try:
        both = json.dumps([schema, value]).encode()
        result = Local().run([sys.executable, "-I", schema_errors.__file__], stdin=both)
    except (RecursionError, TransportError) as error:
        raise Unusable("it is nested too deep, or asks for too much") from error
    if not result.ok:
        said = result.stderr.decode(errors="replace").strip() if result.exit_code == 1 else ""
        raise Unusable(said or "it asks for too much time or memory")
    return [(tuple(path), why) for path, why in json.loads(result.stdout)]
