"""The durable list of before-images, on the node, one JSON object a line.

``/var/lib/docker-lxc-gate/<ctid>/journal.jsonl`` (root only), format version 1::

    {"v":1,"at":1795532650.0,"kind":"begun"}
    {"v":1,"at":1795532651.0,"kind":"before","action":"…","machine":"…","before":{…}}
    {"v":1,"at":1795532699.0,"kind":"finished"}

Each line is flushed and synced before the change that it is about, so a last line without its
end (the disk was full, the power went) is about a change that was never made. Bytes are base64.
A journal whose last line is not ``finished`` belongs to a run that did not end. After a complete
rollback the file is kept beside it under the time of the rollback.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from remediation.errors import FactError

if TYPE_CHECKING:
    from remediation.transport import Transport

VERSION = 1
_APPEND = (
    'set -e; umask 077; mkdir -p -- "$1"; cat >>"$1/journal.jsonl"; '
    'sync "$1/journal.jsonl"; sync "$1"'
)


@dataclass(frozen=True)
class Entry:
    """One before-image: of which action, on which machine."""

    action: str
    machine: str
    before: Any


class Journal:
    """The journal of one container's plan, on its node.

    Args:
        node: where it lies.
        directory: its directory, an absolute path.
    """

    def __init__(self, node: Transport, directory: str) -> None:
        self._node, self._directory = node, directory
        self.path = f"{directory}/journal.jsonl"
        self._lines: list[dict[str, Any]] | None = None
        self._torn = False

    def _read(self) -> list[dict[str, Any]]:
        if self._lines is None:
            content = self._node.read(self.path) or b""
            whole = content[: content.rfind(b"\n") + 1]
            self._lines = [
                self._line(number, line) for number, line in enumerate(whole.splitlines(), 1)
            ]
            self._torn = len(content) > len(whole)
        return self._lines

    def _line(self, number: int, line: bytes) -> dict[str, Any]:
        where = f"{self.path}, line {number} on {self._node.machine}"
        try:
            value: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise FactError(
                f"{where}: not a journal entry ({error}); nothing was changed"
            ) from error
        if value.get("v") != VERSION:
            raise FactError(
                f"{where}: written in format {value.get('v')!r}, this program knows {VERSION}; "
                "use the version that wrote it"
            )
        return value

    def entries(self) -> list[Entry]:
        """Return all before-images, oldest first."""
        return [
            Entry(line["action"], line["machine"], line["before"])
            for line in self._read()
            if line["kind"] == "before"
        ]

    def before(self, action: str, type_: Any = Any) -> Any:
        """Return an action's before-image as ``type_``, or None if it has none."""
        for entry in self.entries():
            if entry.action == action:
                return msgspec.convert(entry.before, type_)
        return None

    def unfinished(self) -> bool:
        """Whether a run began here and did not end."""
        lines = self._read()
        return self._torn or (bool(lines) and lines[-1]["kind"] != "finished")

    def begin(self) -> None:
        """Note that a run is about to change something, unless that is noted already."""
        if not self.unfinished():
            self._append({"kind": "begun"})

    def record(self, action: str, machine: str, before: Any) -> None:
        """Add a before-image; returns when it is on the disk."""
        self._append({"kind": "before", "action": action, "machine": machine, "before": before})

    def finish(self) -> None:
        """Note that the run ended well."""
        self._append({"kind": "finished"})

    def _append(self, values: dict[str, Any]) -> None:
        self._read()
        if self._torn:
            raise FactError(
                f"{self.path} on {self._node.machine} ends in half a line: a run was cut off. "
                "Take it back first: python -m remediation rollback, with the same --target"
            )
        line = msgspec.json.encode({"v": VERSION, "at": time.time(), **values}) + b"\n"
        self._node.run(["sh", "-c", _APPEND, "journal", self._directory], stdin=line).require()
        self._lines = None  # what is on the disk is what counts

    def close(self) -> None:
        """Put the journal aside: everything it held has been taken back."""
        if self._read() or self._torn:
            aside = f"{self._directory}/rolled-back-{time.time_ns()}.jsonl"
            self._node.run(["mv", "-T", "--", self.path, aside]).require()
        self._lines = None
