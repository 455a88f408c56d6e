"""The lines of a journal: what each kind says, and how one that is damaged is told.

A line ends in ``,"sum":"0123456789abcdef"}``: the first 16 hex digits of the SHA-256 of the line as
it would be without that, ``}`` in its place. It is a line's own: one that is damaged can be taken
out, and the others can still be read. Of a line that was cut off, the sum at the end of its
``cut`` is of all that stands before it, torn words included. A line without a sum is read as it is.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from docker_lxc_gate import patterns
from remediation.engine.action import Place

VERSION = 3
#: The end of a line that was cut off, but for the sum; no whole line of another kind ends so.
_CUT = b'"kind":"cut"}'
#: Before an attribute's name that is no text.
_BYTES = "base64: "
#: In a text of JSON its quotes would be escaped: only a line's own end looks like this.
_SUM = patterns.compile(rb',"sum":"([0-9a-f]{16})"\}$')


class Line(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
):
    """What every line says: the format, when, and of which container's plan."""

    v: Literal[3]
    at: str
    ctid: int


class Before(Line, frozen=True, tag="before"):
    """What an action found, if it is of a file, where; on the disk before the change is begun.

    ``action`` is its id; ``machine`` the node, or the container whose ``ctid`` the line has;
    ``plan`` the identity of the plan that it is a part of.
    """

    action: str
    machine: Place
    state: Any
    path: str = ""
    plan: str = ""


class After(Line, frozen=True, tag="after"):
    """What an action left, when it was done."""

    action: str
    machine: Place
    state: Any


class Finished(Line, frozen=True, tag="finished"):
    """A run or a rollback came to its end."""


class RollingBack(Line, frozen=True, tag="rolling_back"):
    """A rollback begins."""


class RolledBack(Line, frozen=True, tag="rolled_back"):
    """An action was rolled back and looked at, or only its last run (``last``)."""

    action: str
    last: bool = False


class Accepted(Line, frozen=True, tag="accepted"):
    """What an action changed is to stay."""

    action: str


_DECODER = msgspec.json.Decoder(Before | After | Finished | RollingBack | RolledBack | Accepted)


class _Any(msgspec.Struct):
    """A line of whatever format."""

    v: Any = None


class Unreadable(Exception):
    """A line that is damaged, or that another version wrote; says why, and what to do."""


def read(line: bytes) -> Line | None:
    """Return what a line, without its end, says, or None of one that was cut off.

    Raises Unreadable if its sum is of something else, or it is none of our lines.
    """
    end = _SUM.search(line)
    body = line[: end.start()] + b"}" if end else line
    if end and end[1] != _sum(body):
        raise _damaged(
            f"its sum is {end[1].decode()}, that of what stands there {_sum(body).decode()}"
        )
    if body.endswith(_CUT):
        return None
    try:
        version = msgspec.json.decode(body, type=_Any).v
        if version == VERSION:
            record: Line = _DECODER.decode(body)
            return record
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(str(error)) from error
    newer = isinstance(version, int) and version > VERSION
    what_to_do = "use a newer version" if newer else "use the version that wrote it"
    raise Unreadable(
        f"written in format {version!r}, and this version reads only {VERSION}: {what_to_do}"
    )


def _damaged(why: str) -> Unreadable:
    return Unreadable(
        f"damaged ({why}). With that line taken out, what the others hold can be rolled back"
    )


def written(line: Mapping[str, Any], torn: bytes = b"") -> bytes:
    """Return a line as it is added, with its sum and its end, its keys in the given order.

    It may be added to a ``torn`` line, one without its end.
    """
    body = msgspec.json.encode(line)
    return body[:-1] + b',"sum":"' + _sum(torn + body) + b'"}\n'


def weight(value: Any) -> int:
    """Return about how many bytes an image takes."""
    if isinstance(value, dict):
        return sum(weight(key) + weight(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return sum(map(weight, value))
    return len(value) if isinstance(value, str | bytes) else 8


def _sum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:16].encode()


def as_json(content: bytes) -> dict[str, str]:
    """Return bytes as text, or in base64 if they are none."""
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def stored(value: Any, beside: Callable[[bytes], dict[str, Any]]) -> Any:
    """Return an image as JSON; ``beside`` returns what stands in it for a content."""
    if isinstance(value, dict):
        return {_key(key): stored(item, beside) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [stored(item, beside) for item in value]
    if isinstance(value, bytes):
        return beside(value)
    return _name(value) if isinstance(value, str) else value


def loaded(value: Any) -> Any:
    """Return an image from :func:`stored`, with its contents in it; raises ValueError."""
    match value:
        case list():
            return [loaded(item) for item in value]
        case {"text": str(text)} if len(value) == 1:
            return text.encode()
        case {"base64": str(text)} if len(value) == 1:
            return base64.b64decode(text, validate=True)
        case {"name": str(text)} if len(value) == 1:
            return base64.b64decode(text, validate=True).decode(errors="surrogateescape")
        case dict():
            return {_keyed(key): loaded(item) for key, item in value.items()}
    return value


def _key(text: str) -> str:
    """Return an attribute's name as JSON's, which cannot be an object."""
    raw = _name(text)
    return raw if isinstance(raw, str) else f"{_BYTES}{raw['name']}"


def _keyed(text: str) -> str:
    if not text.startswith(_BYTES):
        return text
    return base64.b64decode(text.removeprefix(_BYTES), validate=True).decode(
        errors="surrogateescape"
    )


def _name(text: str) -> str | dict[str, str]:
    """Return a text as it is, or, if it holds bytes that are none, those."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raw = text.encode(errors="surrogateescape")
        return {"name": base64.b64encode(raw).decode()}
    return text
