"""A file whose content is edited, and a directory that must exist."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from typing_extensions import override

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats.archive import FileState
from docker_lxc_gate.machines import files
from docker_lxc_gate.machines.read import is_directory
from docker_lxc_gate.machines.transport import Transport
from remediation.engine.action import Action, Drift


@dataclass(frozen=True)
class FileEdit(Action[FileState]):
    """A file's content is what ``edit`` makes of it; mode, owner and attributes stay.

    Applied twice ``edit`` changes nothing more. Where the file is absent it gets None, and the file
    is made with mode 644.
    """

    path: str = field()
    edit: Callable[[bytes | None], bytes] = field(compare=False)

    before: ClassVar[Any] = FileState

    @override
    def capture(self, on: Transport) -> FileState:
        return files.capture(on, self.path)

    def require_reversible(self, on: Transport) -> None:
        """See :class:`remediation.engine.action.Action`: only a regular file is edited in place."""
        files.require_file(on, self.path, self.capture(on))

    @override
    def check(self, on: Transport) -> Drift | None:
        return self.drift(on.read(self.path))

    def drift(self, content: bytes | None) -> Drift | None:
        """Return the drift of what was read of the file."""
        desired = self.edit(content)
        if content == desired:
            return None
        what = "is absent" if content is None else "differs"
        return Drift(f"{self.path} {what}", content or b"", desired)

    @override
    def apply(self, on: Transport, before: FileState) -> None:
        state = files.capture(on, self.path)
        files.write(on, self.path, state, self.edit(files.content(state)))

    @override
    def rollback(self, on: Transport, before: FileState) -> None:
        files.restore(on, self.path, before)

    @override
    def current(self, on: Transport) -> FileState:
        return self.capture(on)

    @override
    def changed_since(
        self, now: FileState, before: FileState, after: FileState | None
    ) -> Drift | None:
        if now.same(before) or (after is not None and now.same(after)):
            return None
        left = after.content if after is not None else self._edited(before)
        if after is None and now.kind == "file" and now.content == left:
            return None
        what = {"absent": "was removed", "file": "was changed"}.get(now.kind, f"is a {now.kind}")
        if after is not None and now.kind == after.kind == "file":
            what = ", ".join([what, *files.unlike(now, after)])
        there = os.fsencode(now.link) if now.kind == "link" else now.content
        return Drift(f"{self.path} {what}", there, left)

    def _edited(self, before: FileState) -> bytes:
        """Return what ``apply`` makes of a file; what it refuses, it leaves."""
        try:
            return self.edit(files.content(before))
        except FactError:
            return before.content


@dataclass(frozen=True)
class Directory(Action[bool]):
    """A directory exists (mode 755) if it is needed.

    It is rolled back only if it was made here and is empty again.
    """

    path: str = field()
    needed: Callable[[Transport], bool] = field(default=lambda _: True, compare=False)

    before: ClassVar[Any] = bool

    def capture(self, on: Transport) -> bool:
        """Return whether it exists."""
        return on.ask(is_directory(self.path))

    @override
    def check(self, on: Transport) -> Drift | None:
        if self.capture(on) or not self.needed(on):
            return None
        return Drift(f"{self.path} is absent")

    @override
    def apply(self, on: Transport, before: bool) -> None:
        on.run(["mkdir", "-m", "755", "--", self.path]).require()

    @override
    def rollback(self, on: Transport, before: bool) -> None:
        if not before and self.capture(on):
            on.run(["rmdir", "--", self.path]).require("somebody else put something there")
