"""The durable list of before-images on the node: one JSON object a line, to be read with less.

``/var/lib/docker-lxc-gate/journal.jsonl`` (root only) is only ever added to. Its format is in
docs/journal.md, what an entry goes through in :class:`remediation.engine.journal_entries.Life`.
Whoever writes after a line without its end ends it with ``cut``, on the same line, so that being
cut off at that leaves again a line without its end.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError, UsageError
from docker_lxc_gate.machines.read import content_of
from docker_lxc_gate.machines.target import DEFAULT_PLAN
from docker_lxc_gate.machines.transport import LIMIT, Transport, at_most
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
        self._lines: list[Line] | None = None
        self._torn = b""
        self._contents: dict[str, bytes] = {}  # by their checksums, as they lie beside it

    # -- reading

    def lines(self) -> list[Line]:
        """Return every line of the node's journal, of all containers and all times.

        Raises FactError if a line is damaged or of another version; nothing was changed.
        """
        if self._lines is None:
            content = self._node.ask(content_of(self.path, limit=_LONGEST)) or b""
            whole = content[: content.rfind(b"\n") + 1]
            read = [self._line(*each) for each in enumerate(whole.split(b"\n")[:-1], 1)]
            self._lines = [line for line in read if line is not None]
            self._torn = content[len(whole) :]
        return self._lines

    def exported(self) -> list[dict[str, Any]]:
        """Return every line with its large contents in it: all that is known, in one piece.

        Raises FactError if a line or a content is damaged; it says what to copy by hand instead.
        """
        try:
            return [self._whole(msgspec.to_builtins(line)) for line in self.lines()]
        except FactError as error:
            raise FactError(
                f"{error}\nNothing was exported. To copy everything, with the damage, run on "
                f"{self._node.machine}: tar -cf journal.tar -C {self.directory} ."
            ) from error

    @property
    def torn(self) -> bool:
        """Whether the last line was cut off, and nothing has been added since."""
        self.lines()
        return bool(self._torn)

    def forget(self) -> None:
        """Read it anew when next asked: until the node is ours, another run may add to it."""
        self._lines = None

    def _line(self, number: int, line: bytes) -> Line | None:
        where = f"{self.path}, line {number} on {self._node.machine}"
        try:
            return journal_format.read(line)
        except journal_format.Damaged as error:
            raise FactError(
                f"{where}: damaged ({error}); nothing was changed. Look at it (less {self.path}); "
                "with that line taken out, what the others hold can be rolled back"
            ) from error
        except journal_format.OtherFormat as error:
            raise FactError(f"{where}: {error}. Nothing was changed") from error

    def entries(self) -> list[JournalEntry]:
        """Return the open entries, oldest first; of each the first before-image counts."""
        return journal_entries.entries(self.lines(), self.ctid)

    def named(self, actions: Iterable[str]) -> list[JournalEntry]:
        """Return the entries of these actions, oldest first.

        Raises UsageError if there is none of an action; it says which there are.
        """
        asked, entries = set(actions), self.entries()
        if unknown := sorted(asked - {entry.action for entry in entries}):
            there = "; there are: " + ", ".join(repr(entry.action) for entry in entries)
            raise UsageError(
                f"{self.path} on {self._node.machine} holds nothing of container {self.ctid} that "
                f"is to be rolled back under the name {unknown[0]!r}{there if entries else ''}"
            )
        return [entry for entry in entries if entry.action in asked]

    def image(self, stored: Any, type_: Any) -> Any:
        """Return an image as the action's own type, with its large contents fetched.

        Raises FactError if a content is missing or damaged, or the image is not of that type.
        """
        try:
            return msgspec.convert(self._fetched(stored), type_, builtin_types=(bytes,))
        except ValueError as error:  # msgspec's own, and that of base64
            raise FactError(f"{self.path}: {error}; nothing was changed") from error

    def before(self, action: str, type_: Any = Any) -> Any:
        """Return an action's before-image as ``type_``, or None if it has none."""
        for entry in self.entries():
            if entry.action == action:
                return self.image(entry.before, type_)
        return None

    def unfinished(self) -> bool:
        """Whether a run for this container began and did not end.

        A line without its end adds nothing: what was changed before it stands in whole lines, and
        they leave the run open.
        """
        return journal_entries.unfinished(self.lines(), self.ctid)

    def interrupted(self) -> int | None:
        """Return the container, any of the node's, whose run did not end; None if all did."""
        lines = self.lines()
        ctids = dict.fromkeys([self.ctid, *(line.ctid for line in lines)])
        return next((ctid for ctid in ctids if journal_entries.unfinished(lines, ctid)), None)

    def newer(self) -> list[int]:
        """Return the containers whose plans were applied after this one's and still are."""
        lines = self.lines()
        ctids = dict.fromkeys(line.ctid for line in lines)
        open_lines = {c: [e.line for e in journal_entries.entries(lines, c)] for c in ctids}
        began = {ctid: min(numbers) for ctid, numbers in open_lines.items() if numbers}
        mine = began.get(self.ctid)
        return [ctid for ctid, at in began.items() if mine is not None and at > mine]

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
            action = max(weights, key=lambda each: weights[each])
            raise FactError(
                f"the before-images are too large for {self.path} on {self._node.machine}: "
                f"{sum(weights.values())} bytes, and {_HEAVIEST >> 20} MiB are allowed. The "
                f"largest is that of {action!r}, with {weights[action]} bytes. Nothing was changed"
            )
        lines = []
        for image in images:
            path = (paths or {}).get(image[0], "")
            # Versions before plans were data cannot read that key.
            named = self.plan.partition(" ")[0] != DEFAULT_PLAN
            known = {"path": path, "plan": self.plan if named else ""}
            lines.append(self._image("before", *image) | {k: v for k, v in known.items() if v})
        self._append(lines)

    def complete(self, action: str, place: Place, after: Any) -> None:
        """Note that an action is done, and what it left."""
        self._append([self._image("after", action, place, after)])

    def _image(self, kind: str, action: str, place: Place, image: Any) -> dict[str, Any]:
        state = self._stored(msgspec.to_builtins(image, builtin_types=(bytes,)))
        return {"kind": kind, "action": action, "machine": place, "state": state}

    def finish(self) -> None:
        """Note that the run ended well."""
        self._append([{"kind": "finished"}])

    def roll_back(self) -> None:
        """Note that a rollback begins."""
        self._append([{"kind": "rolling_back"}])

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

        Raises UsageError as :meth:`named`; nothing was written.
        """
        accepted = [entry.action for entry in self.named(actions)]
        ended = len(accepted) == len(self.entries()) or not self.unfinished()
        lines = [{"kind": "accepted", "action": action} for action in accepted]
        self._append([*lines, {"kind": "finished"}] if ended else lines)

    def keep(self, action: str, content: bytes) -> str:
        """Put a copy of what somebody had changed beside the journal, and return its path."""
        name = patterns.sub(r"[^A-Za-z0-9.]+", "-", action).strip("-")
        path = f"{self.directory}/kept/{_now().replace(':', '')}-{name}"
        self._store(path, content)
        return path

    def name(self, place: Place) -> str:
        """Return what people call a machine of this container's plan."""
        return self.machine if place is Place.NODE else f"container {self.ctid}"

    def _append(self, lines: list[dict[str, Any]]) -> None:
        known = self.lines()
        common = {"v": VERSION, "at": _now(), "ctid": self.ctid}
        added = [journal_format.written(common | line) for line in lines]
        text = b"".join(added)
        if self._torn:  # ended, and said to be so, before anything follows it
            text = journal_format.written(common | {"kind": "cut"}, self._torn) + text
        self.forget()  # after an error, what is on the disk is what counts
        self._node.run(["sh", "-c", _APPEND, "journal", self.directory], stdin=text).require()
        if not self._torn:
            read = (journal_format.read(line.rstrip(b"\n")) for line in added)
            self._lines = [*known, *(line for line in read if line is not None)]

    # -- bytes in JSON

    def _whole(self, value: Any) -> Any:
        match value:
            case list():
                return [self._whole(each) for each in value]
            case {"sha256": str(digest), "size": int(size)} if len(value) == 2:  # noqa: PLR2004
                return journal_format.as_json(self._beside(digest, size))
            case dict():
                return {key: self._whole(each) for key, each in value.items()}
        return value

    def _stored(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {journal_format.key(key): self._stored(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._stored(each) for each in value]
        if not isinstance(value, bytes):
            return journal_format.name(value) if isinstance(value, str) else value
        if len(value) > _LARGE:
            digest = hashlib.sha256(value).hexdigest()
            if digest not in self._contents:
                self._store(f"{self.directory}/contents/{digest}", value)
                self._contents[digest] = value
            return {"sha256": digest, "size": len(value)}
        return journal_format.as_json(value)

    def _store(self, path: str, content: bytes) -> None:
        digest = hashlib.sha256(content).hexdigest()
        self._node.run(["sh", "-c", _STORE, "store", path, digest], stdin=content).require()

    def _fetched(self, value: Any) -> Any:  # noqa: PLR0911 - a table
        match value:
            case list():
                return [self._fetched(each) for each in value]
            case {"text": str(text)} if len(value) == 1:
                return text.encode()
            case {"base64": str(text)} if len(value) == 1:
                return base64.b64decode(text, validate=True)
            case {"name": str(text)} if len(value) == 1:
                return base64.b64decode(text, validate=True).decode(errors="surrogateescape")
            case {"sha256": str(digest), "size": int(size)} if len(value) == 2:  # noqa: PLR2004
                return self._beside(digest, size)
            case dict():
                return {
                    journal_format.keyed(key): self._fetched(each) for key, each in value.items()
                }
        return value

    def _beside(self, digest: str, size: int) -> bytes:
        if digest in self._contents:
            return self._contents[digest]
        path = f"{self.directory}/contents/{digest}"
        with at_most(max(size, LIMIT)):  # what an earlier version kept may be larger
            content = self._node.read(path)
        if content is None or hashlib.sha256(content).hexdigest() != digest:
            what = "is missing" if content is None else "is damaged"
            raise FactError(
                f"{path} on {self._node.machine} {what}: it is part of a before-image. "
                "Nothing was changed"
            )
        self._contents[digest] = content
        return content


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
