"""Docker's settings file, written by dockerd's own rules; the data directory, the driver."""

from __future__ import annotations

import json
import posixpath

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats.daemon_json import encoding, mark, parse, readable, text
from remediation import desired

#: The feature that is containerd's image store.
_STORE = "containerd-snapshotter"


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
    return mark(like) + written.encode(encoding(like))


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
