"""The durable list of before-images on the node: one JSON object a line, to be read with less.

``/var/lib/docker-lxc-gate/journal.jsonl`` (root only) is only ever added to. Its format is in
docs/journal.md, what an entry goes through in :class:`remediation.engine.journal_entries.Life`.
Whoever writes after a line without its end ends it with ``cut``, on the same line, so that being
cut off at that leaves again a line without its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.read import content_of
from docker_lxc_gate.machines.target import DEFAULT_PLAN
from docker_lxc_gate.machines.transport import LIMIT, Transport
from remediation.engine import journal_entries, journal_format
from remediation.engine.action import Place
from remediation.engine.journal_format import VERSION, Line

if TYPE_CHECKING:
    from remediation.engine.journal_entries import JournalEntry

DIRECTORY = "/var/lib/docker-lxc-gate"
#: More than this lies beside the journal (bytes).
_LARGE = 4096
#: All that a run may add as before-images, and how long the journal's file may be (bytes).
_HEAVIEST, _LONGEST = 16 << 20, 256 << 20
_APPEND = (
    'set -e; umask 077; mkdir -p -- "$1"; cat >>"$1/journal.jsonl"; '
    'sync "$1/journal.jsonl"; sync "$1"'
)
#: Stores standard input, if it is the content with this checksum: of a connection that was cut,
#: half of it may come. A crash leaves the whole file or none.
_STORE = (
    'set -e; umask 077; d=$(dirname -- "$1"); new="$1.gate-new"; mkdir -p -- "$d"; '
    'trap \'rm -f -- "$new"\' EXIT; cat >"$new"; echo "$2  $new" | sha256sum -c --status || '
    '{ echo "$1 is not what was sent" >&2; exit 1; }; '
    'sync "$new"; mv -fT -- "$new" "$1"; sync "$d"'
)


class Journal:
    """What one container's plan has changed, in the journal of its node.

    The directory is an absolute path. ``plan`` is the identity of the plan whose before-images are
    added; the default is not named.
    """

    def __init__(
        self, node: Transport, ctid: int, directory: str = DIRECTORY, plan: str = ""
    ) -> None:
        self._node, self.ctid, self.directory, self.plan = node, ctid, directory, plan
        self.path = f"{directory}/journal.jsonl"
        self.machine = node.machine
        self.torn = b""  # the last line, if it was cut off, as it was read last

    # -- reading

    def lines(self) -> list[Line]:
        """Return every line of the node's journal, of all containers and all times.

        Raises FactError if a line is damaged or of another version; nothing was changed.
        """
        content = self._node.ask(content_of(self.path, limit=_LONGEST)) or b""
        whole = content[: content.rfind(b"\n") + 1]
        lines = []
        for number, text in enumerate(whole.split(b"\n")[:-1], 1):
            try:
                line = journal_format.read(text)
            except journal_format.Unreadable as error:
                where = f"{self.path}, line {number} on {self.machine}"
                raise FactError(f"{where}: {error}. Nothing was changed") from error
            if line is not None:
                lines.append(line)
        self.torn = content[len(whole) :]
        return lines

    def entries(self) -> list[JournalEntry]:
        """Return the open entries, oldest first; of each the first before-image counts."""
        return journal_entries.entries(self.lines(), self.ctid)

    def image(self, stored: Any, type_: Any) -> Any:
        """Return an image as the action's own type, with its large contents fetched.

        Raises FactError if a content is missing or damaged, or the image is not of that type.
        """
        try:
            image = journal_format.loaded(self.whole(stored))
            return msgspec.convert(image, type_, builtin_types=(bytes,))
        except ValueError as error:  # msgspec's own, and that of base64
            raise FactError(f"{self.path}: {error}; nothing was changed") from error

    def interrupted(self) -> int | None:
        """Return the container, any of the node's, whose run did not end; None if all did."""
        lines = self.lines()
        ctids = dict.fromkeys([self.ctid, *(line.ctid for line in lines)])
        return next((ctid for ctid in ctids if journal_entries.unfinished(lines, ctid)), None)

    # -- writing

    def record(
        self, images: Sequence[tuple[str, Place, Any]], paths: Mapping[str, str] | None = None
    ) -> None:
        """Add before-images, each of an action, on a machine; returns when all are on the disk.

        ``paths`` has the path of each action that is about one: what is rolled back must be the
        same. Raises FactError if they are too large to be kept; nothing was written.
        """
        kept = {
            action: msgspec.to_builtins(image, builtin_types=(bytes,))
            for action, _, image in images
        }
        weights = {action: journal_format.weight(image) for action, image in kept.items()}
        if sum(weights.values()) > _HEAVIEST:
            action = max(weights, key=lambda name: weights[name])
            raise FactError(
                f"the before-images are too large for {self.path} on {self.machine}: "
                f"{sum(weights.values())} bytes, and {_HEAVIEST >> 20} MiB are allowed. The "
                f"largest is that of {action!r}, with {weights[action]} bytes. Nothing was changed"
            )
        # Versions before plans were data cannot read that key.
        plan = "" if self.plan.partition(" ")[0] == DEFAULT_PLAN else self.plan
        lines = []
        for action, place, _ in images:
            known = {"path": (paths or {}).get(action, ""), "plan": plan}
            state = journal_format.stored(kept[action], self._beside)
            line = {"kind": "before", "action": action, "machine": place, "state": state}
            lines.append(line | {key: value for key, value in known.items() if value})
        self._append(lines)

    def complete(self, action: str, place: Place, after: Any) -> None:
        """Note that an action is done, and what it left."""
        image = msgspec.to_builtins(after, builtin_types=(bytes,))
        state = journal_format.stored(image, self._beside)
        self._append([{"kind": "after", "action": action, "machine": place, "state": state}])

    def note(self, kind: Literal["rolling_back", "finished"]) -> None:
        """Note that a rollback begins, or that a run ended well."""
        self._append([{"kind": kind}])

    def rolled_back(self, actions: Iterable[str], *, last: bool, ended: bool) -> None:
        """Note what has been rolled back and looked at.

        If only what the ``last`` run had changed, earlier ones still hold. ``ended`` is whether
        nothing is left that would have to be rolled back.
        """
        kind = {"kind": "rolled_back", "last": True} if last else {"kind": "rolled_back"}
        lines = [{**kind, "action": action} for action in actions]
        self._append([*lines, {"kind": "finished"}] if ended else lines)

    def accept(self, actions: Iterable[str]) -> None:
        """Let what these have changed stay: it is not to be rolled back any more.

        The before-images stay in the journal, to be read. A run that did not end has ended when
        nothing of it is left to be rolled back.
        """
        accepted = dict.fromkeys(actions)
        left = {entry.action for entry in self.entries()} - accepted.keys()
        ended = not left or not journal_entries.unfinished(self.lines(), self.ctid)
        lines = [{"kind": "accepted", "action": action} for action in accepted]
        self._append([*lines, {"kind": "finished"}] if ended else lines)

    def keep(self, action: str, content: bytes) -> str:
        """Put a copy of what somebody had changed beside the journal, and return its path."""
        path = f"{self.directory}/kept/{_now().replace(':', '')}-{action}"
        self._store(path, content)
        return path

    def _append(self, lines: list[dict[str, Any]]) -> None:
        self.lines()  # nothing is added to what cannot be read
        common = {"v": VERSION, "at": _now(), "ctid": self.ctid}
        text = b"".join(journal_format.written(common | line) for line in lines)
        if self.torn:  # ended, and said to be so, before anything follows it
            text = journal_format.written(common | {"kind": "cut"}, self.torn) + text
        self._node.run(["sh", "-c", _APPEND, "journal", self.directory], stdin=text).require()

    # -- large contents, beside it

    def whole(self, value: Any) -> Any:
        """Return a line or an image with its large contents in it.

        Raises FactError if one is missing or damaged.
        """
        match value:
            case list():
                return [self.whole(item) for item in value]
            case {"sha256": str(digest), "size": int(size)} if len(value) == 2:  # noqa: PLR2004
                path = f"{self.directory}/contents/{digest}"
                content = self._node.read(path, limit=max(size, LIMIT))  # once, more was kept
                if content is None or hashlib.sha256(content).hexdigest() != digest:
                    what = "is missing" if content is None else "is damaged"
                    raise FactError(
                        f"{path} on {self.machine} {what}: it is part of a before-image. "
                        "Nothing was changed"
                    )
                return journal_format.as_json(content)
            case dict():
                return {key: self.whole(item) for key, item in value.items()}
        return value

    def _beside(self, content: bytes) -> dict[str, Any]:
        """Return what stands in a line for a content, which is stored beside it if it is large."""
        if len(content) <= _LARGE:
            return journal_format.as_json(content)
        digest = hashlib.sha256(content).hexdigest()
        self._store(f"{self.directory}/contents/{digest}", content)
        return {"sha256": digest, "size": len(content)}

    def _store(self, path: str, content: bytes) -> None:
        digest = hashlib.sha256(content).hexdigest()
        self._node.run(["sh", "-c", _STORE, "store", path, digest], stdin=content).require()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
