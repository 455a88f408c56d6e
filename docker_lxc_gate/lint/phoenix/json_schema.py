"""JSON against its schema.

A schema is foreign, and a few lines of one can ask for more time and memory than there is. So the
library works in a process of its own, with limits.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.lint.phoenix import schema_errors
from docker_lxc_gate.machines.process import limited
from docker_lxc_gate.machines.transport import Local

if TYPE_CHECKING:
    from docker_lxc_gate.lint.json_text import Path


#: JSON can escape half of a surrogate pair, which UTF-8 cannot encode, and the library refuses. A
#: character for private use stands for it.
_STAND_INS = {code: chr(0xF0000 + code) for code in range(0xD800, 0xE000)}
_SURROGATES = {ord(stand_in): chr(code) for code, stand_in in _STAND_INS.items()}


#: Seconds of the processor for the library.
_SECONDS = 5


class Unusable(Exception):
    """A schema by which nothing can be judged; the text says why."""


def mismatches(schema: Any, value: Any) -> list[tuple[Path, str]]:
    """Return each place of a value that its schema does not allow, and why.

    Raises:
        Unusable: the schema is invalid, or asks for too much.
    """
    try:
        both = json.dumps([schema, value], ensure_ascii=False).translate(_STAND_INS).encode()
        program = [sys.executable, "-I", schema_errors.__file__]
        result = Local().run(limited(*program, seconds=_SECONDS), stdin=both)
    except (RecursionError, TransportError) as error:
        raise Unusable("it is nested too deep, or asks for too much") from error
    if not result.ok:
        if result.exit_code == schema_errors.UNUSABLE:
            raise Unusable(_restored(result.stderr.decode(errors="replace").strip()))
        raise Unusable("it asks for too much time or memory")
    return [
        (tuple(map(_restored, path)), _restored(why)) for path, why in json.loads(result.stdout)
    ]


def _restored(part: Any) -> Any:
    """Return a text with its lone surrogates; an index stays."""
    return part.translate(_SURROGATES) if isinstance(part, str) else part
