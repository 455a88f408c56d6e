"""An AppArmor profile: its file, and the policy that the kernel holds for it.

Source: apparmor_parser(8).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from typing_extensions import override

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.facts import apparmor
from docker_lxc_gate.formats.archive import FileState  # noqa: TC001 - journals are read back by a state's types
from docker_lxc_gate.machines import files
from docker_lxc_gate.machines.transport import Transport
from remediation.actions.file_edit import FileEdit
from remediation.engine.action import Action, Drift


@dataclass(frozen=True)
class ProfileState:
    """A profile's file, and the binary policy that the kernel holds for it (empty: none).

    Stored in journals: its fields are a schema (test_stored_states.py).
    """

    file: FileState
    policy: bytes


@dataclass(frozen=True)
class AppArmorProfile(Action[ProfileState]):
    """An AppArmor profile stands in its file, and the kernel's policy is what the file says.

    It is replaced in place, and never removed while something runs under it: removed and added
    again, it would leave what runs unconfined until its restart.
    """

    profile: str
    path: str = field()
    content: bytes

    before: ClassVar[Any] = ProfileState

    @override
    def capture(self, on: Transport) -> ProfileState:
        return ProfileState(files.capture(on, self.path), self.held(on))

    @override
    def require_reversible(self, on: Transport) -> None:
        self._file.require_reversible(on)

    @override
    def check(self, on: Transport) -> Drift | None:
        if (drift := self._file.check(on)) is not None:
            return drift
        loaded = on.ask(apparmor.loaded_policy(self.profile))
        if not loaded:
            return Drift(f"profile {self.profile} is not loaded")
        if loaded != on.ask(apparmor.compiled_policy(self.path)):
            return Drift(f"the kernel's {self.profile} is not what {self.path} says")
        return None

    @override
    def apply(self, on: Transport, before: ProfileState) -> None:
        self._file.apply(on, before.file)
        load(on, self.path)

    @override
    def rollback(self, on: Transport, before: ProfileState) -> None:
        if not before.policy:
            self.hold(on, b"")
        self._file.rollback(on, before.file)
        renew_cache(on, self.path)
        if before.policy:
            self.hold(on, before.policy)

    def held(self, on: Transport) -> bytes:
        """Return the policy that the kernel holds, empty if none."""
        return apparmor.loaded_binary(on, self.profile)

    def hold(self, on: Transport, policy: bytes) -> None:
        """Let the kernel hold this policy, whatever the file says; empty is none."""
        loaded = self.held(on)
        if loaded and not policy:
            if users := apparmor.processes_under(on, self.profile):
                raise RemediationError(
                    f"profile {self.profile} stays loaded: processes {users[:8]} run under it. "
                    "Stop their containers, then roll back again"
                )
            unload(on, self.profile)
        elif loaded != policy:
            load_binary(on, policy)

    @override
    def current(self, on: Transport) -> ProfileState:
        """The file; nobody edits the kernel's policy."""
        return ProfileState(self._file.capture(on), b"")

    @override
    def changed_since(
        self, now: ProfileState, before: ProfileState, after: ProfileState | None
    ) -> Drift | None:
        return self._file.changed_since(now.file, before.file, after.file if after else None)

    @property
    def _file(self) -> FileEdit:
        return FileEdit(self.id, self.title, self.requirement, self.path, lambda _: self.content)


def load(on: Transport, path: str) -> None:
    """Load a file's profiles, in place: what runs under them stays confined."""
    # -T -W: never from the cache, but into it. A file put back has its old time, and the cached
    # policy of the newer one would pass for fresh at the next boot.
    on.run(["apparmor_parser", "-r", "-T", "-W", path], timeout=apparmor.PARSER_TIMEOUT).require()


def load_binary(on: Transport, policy: bytes) -> None:
    """Load what :func:`docker_lxc_gate.facts.apparmor.loaded_binary` returned, in place."""
    script = 'f=$(mktemp) && trap \'rm -f "$f"\' EXIT && cat >"$f" && apparmor_parser -r -K -B "$f"'
    on.run(["sh", "-c", script], stdin=policy, timeout=apparmor.PARSER_TIMEOUT).require()


def renew_cache(on: Transport, path: str) -> None:
    """Make the parser's cache that of the file as it is, without loading anything.

    The parser goes by the file's time: put back with its old one, a file would be taken for
    what the newer one was compiled to, at the next boot or reload. Of a file that is not there,
    or does not compile (nor did it before), nothing is left in the cache.
    """
    script = (
        'test -f "$1" && apparmor_parser -Q -T -W "$1" || test ! -d /var/cache/apparmor || '
        'find /var/cache/apparmor -name "$(basename "$1")" -type f -delete'
    )
    on.run(["sh", "-c", script, "renew", path], timeout=apparmor.PARSER_TIMEOUT).require()


def unload(on: Transport, profile: str) -> None:
    """Remove a profile from the kernel; the caller knows that nothing runs under it."""
    text = f"profile {profile} {{ }}\n".encode()
    on.run(["apparmor_parser", "-R", "-K"], stdin=text, timeout=apparmor.PARSER_TIMEOUT).require()
