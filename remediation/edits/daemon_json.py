"""Docker's settings file: read and written by dockerd's own rules; the data directory, the driver.

Source: moby daemon/config/config.go (``getConflictFreeConfiguration``): since 23.0 a byte order
mark decides the encoding, else it is UTF-8; a blank file holds no settings.
"""

from __future__ import annotations

import codecs
import json
import posixpath
from typing import Any

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from remediation import desired

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
#: The feature that is containerd's image store.
_STORE = "containerd-snapshotter"
#: The first major version whose dockerd starts on a file with a byte order mark.
READS_MARKS = 23


def mark(content: bytes) -> bytes:
    """Return the file's byte order mark, or empty bytes."""
    return next((bom for bom in _MARKS if content.startswith(bom)), b"")


def text(content: bytes) -> str:
    """Return the file's text without its byte order mark.

    Raises ValueError if it is not in the encoding of its mark, or not in UTF-8 if it has none.
    """
    return content.removeprefix(mark(content)).decode(_encoding(content))


def _encoding(content: bytes) -> str:
    return _MARKS.get(mark(content), "utf-8")


def parse(content: bytes) -> dict[str, Any]:
    """Return the file's settings; none for a blank file or ``null``.

    Raises ValueError if the file is not text, not JSON (``NaN`` and ``Infinity`` are none), nested
    too deep, or holds no object.
    """
    read = text(content)
    try:
        value = json.loads(read, parse_constant=_no_number) if read.strip() else None
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(value, dict | None):
        raise ValueError("it holds no JSON object")  # noqa: TRY004 - as every other defect
    return value or {}


def readable(content: bytes | None) -> dict[str, Any]:
    """Return the file's settings; empty if it is absent or cannot be read."""
    try:
        return parse(content or b"")
    except ValueError:
        return {}


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def as_json(document: object, like: bytes) -> bytes:
    """Write JSON with the indentation, line ends, final newline and encoding of another file.

    Half a surrogate pair stays an escape, because no encoding can write it.
    """
    former = text(like)
    match = patterns.search(r"\n([ \t]+)", former)
    written = json.dumps(document, indent=match[1] if match else "  ", ensure_ascii=False)
    written = "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in written)
    if former.endswith("\n") or not former.strip():
        written += "\n"
    if "\r\n" in former:
        written = written.replace("\n", "\r\n")
    return mark(like) + written.encode(_encoding(like))


def data_root(text: bytes | None) -> str:
    """Return the directory of Docker's data by its settings; raises FactError if it is no path."""
    root = readable(text).get("data-root")
    if isinstance(root, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in root):
        raise FactError(
            f"{desired.DAEMON_JSON}: data-root is {root!r:.200}, which is not a path: correct it"
        )
    return posixpath.normpath(root) if isinstance(root, str) else desired.DATA_ROOT


def daemon_json(text: bytes | None, driver: str = desired.DRIVER) -> bytes:
    """Return Docker's settings with the storage driver; every other key is kept.

    With containerd's image store, Docker would take the name for that of a snapshotter.
    """
    try:
        settings = parse(text or b"")
    except ValueError as error:
        raise FactError(
            f"{desired.DAEMON_JSON} is not JSON ({error}): correct it, apply did not change it"
        ) from error
    if text and settings.get("storage-driver") == driver:
        return text
    wanted = settings | {"storage-driver": driver}
    features = settings.get("features")
    if isinstance(features, dict) and features.get(_STORE) is True and driver != "overlayfs":
        wanted["features"] = features | {_STORE: False}
    return as_json(wanted, text or b"{\n  \n}")
