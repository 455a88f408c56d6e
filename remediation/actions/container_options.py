"""The kinds of action the plan is made of; what they are used for is in docker_in_lxc."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from facts import apparmor
from remediation.engine.action import Drift, Simple
from targets import files
from targets.errors import Busy, FactError, RemediationError
from targets.files import FileState
from targets.runtime import container_config
from targets.runtime.normal_form import dropped, normal_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from targets.transport import Transport

#: What becomes of a container's options that are taken back beside other disks or snapshots.
_OTHER_VOLUMES = (
    "without what the plan had set, and else as it is: disks or snapshots changed since, and stay; "
    "so does what else was changed by hand, and what a snapshot taken since holds"
)


@dataclass(frozen=True)
class FileEdit(Simple):
    """A file's content is what ``edit`` makes of it; mode, owner and attributes stay.

    Args:
        id: the key of its journal entries.
        title: what people call it.
        requirement: the clause it implements.
        path: the file; where it is absent ``edit`` gets None and the file is made with mode 644.
        edit: returns the desired content; applied twice it changes nothing more.
    """

    id: str
    title: str
    requirement: str
    path: str
    edit: Callable[[bytes | None], bytes] = field(compare=False)

    before: ClassVar[Any] = FileState

    def capture(self, on: Transport) -> FileState:
        """See :class:`remediation.engine.action.Action`."""
        return files.capture(on, self.path)

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.engine.action.Action`."""
        return self.drift(on, on.read(self.path))

    def drift(self, on: Transport, content: bytes | None) -> Drift | None:
        """Return the drift of what was read of the file."""
        desired = self.edit(content)
        if content == desired:
            return None
        files.require_file(on, self.path, files.capture(on, self.path))  # before any change
        what = "is absent" if content is None else "differs"
        return Drift(f"{self.path} {what}", content or b"", desired)

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.engine.action.Action`."""
        state = files.capture(on, self.path)
        files.write(on, self.path, state, self.edit(files.content(state)))

    def rollback(self, on: Transport, before: FileState) -> None:
        """See :class:`remediation.engine.action.Action`."""
        files.restore(on, self.path, before)

    def standing(self, on: Transport) -> FileState:
        """See :class:`remediation.engine.action.Action`."""
        return self.capture(on)

    def meddled(self, now: FileState, before: FileState, after: FileState | None) -> Drift | None:
        """See :class:`remediation.engine.action.Action`."""
        if files.same(now, before) or (after is not None and files.same(now, after)):
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
class Directory(Simple):
    """A directory exists (mode 755); taken back only if it was made here and is empty again."""

    id: str
    title: str
    requirement: str
    path: str

    before: ClassVar[Any] = bool

    def capture(self, on: Transport) -> bool:
        """Return whether it exists."""
        return on.run(["test", "-d", self.path]).ok

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.engine.action.Action`."""
        return None if self.capture(on) else Drift(f"{self.path} is absent")

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.engine.action.Action`."""
        on.run(["mkdir", "-m", "755", "--", self.path]).require()

    def rollback(self, on: Transport, before: bool) -> None:
        """See :class:`remediation.engine.action.Action`."""
        if not before and self.capture(on):
            on.run(["rmdir", "--", self.path]).require("somebody else put something there")


@dataclass(frozen=True)
class ProfileState:
    """A profile's file, and the binary policy that the kernel holds for it (empty: none).

    Stored in journals: its fields are a schema
    (tests/unit/remediation/engine/test_stored_states.py).
    """

    file: FileState
    policy: bytes


@dataclass(frozen=True)
class Profile(Simple):
    """An AppArmor profile stands in its file, and the kernel's policy is what the file says.

    It is replaced in place, and never removed while something runs under it: removed and added
    again, it would leave what runs unconfined until its restart.
    """

    id: str
    title: str
    requirement: str
    profile: str
    path: str
    content: bytes

    before: ClassVar[Any] = ProfileState

    def capture(self, on: Transport) -> ProfileState:
        """See :class:`remediation.engine.action.Action`."""
        policy = apparmor.loaded_binary(on, self.profile)
        return ProfileState(files.capture(on, self.path), policy)

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.engine.action.Action`."""
        if (drift := self._file.check(on)) is not None:
            return drift
        loaded = apparmor.loaded_policy(on, self.profile)
        if not loaded:
            return Drift(f"profile {self.profile} is not loaded")
        if loaded != apparmor.compiled_policy(on, self.path):
            return Drift(f"the kernel's {self.profile} is not what {self.path} says")
        return None

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.engine.action.Action`."""
        self._file.apply(on)
        apparmor.load(on, self.path)

    def rollback(self, on: Transport, before: ProfileState) -> None:
        """See :class:`remediation.engine.action.Action`."""
        loaded = apparmor.loaded_binary(on, self.profile)
        if loaded and not before.policy:
            self._unload(on)
        self._file.rollback(on, before.file)
        apparmor.renew_cache(on, self.path)
        if before.policy and loaded != before.policy:
            apparmor.load_binary(on, before.policy)

    def held(self, on: Transport) -> bytes:
        """Return the policy that the kernel holds, empty if none."""
        return apparmor.loaded_binary(on, self.profile)

    def hold(self, on: Transport, policy: bytes) -> None:
        """Let the kernel hold this policy, or none, again after a reload, which reads the file."""
        loaded = self.held(on)
        if loaded and not policy:
            self._unload(on)
        elif loaded != policy:
            apparmor.load_binary(on, policy)

    def standing(self, on: Transport) -> ProfileState:
        """See :class:`remediation.engine.action.Action`.

        The file; nobody edits the kernel's policy.
        """
        return ProfileState(self._file.capture(on), b"")

    def meddled(
        self, now: ProfileState, before: ProfileState, after: ProfileState | None
    ) -> Drift | None:
        """See :class:`remediation.engine.action.Action`."""
        return self._file.meddled(now.file, before.file, after.file if after else None)

    @property
    def _file(self) -> FileEdit:
        return FileEdit(self.id, self.title, self.requirement, self.path, lambda _: self.content)

    def _unload(self, on: Transport) -> None:
        if users := apparmor.processes_under(on, self.profile):
            raise RemediationError(
                f"profile {self.profile} stays loaded: processes {users[:8]} run under it. "
                "Stop their containers, then roll back again"
            )
        apparmor.unload(on, self.profile)


@dataclass(frozen=True)
class OptionsState:
    """A container's configuration, whether it runs, and the configuration that it runs with.

    The last one tells whether a restart is due; it is no part of what must be equal, since a
    configuration that was replaced before the plan without a restart comes back to nobody. Nor
    are Docker's ``containers`` that ran in it, which its restart ends: they may do so themselves.

    Stored in journals: its fields are a schema
    (tests/unit/remediation/engine/test_stored_states.py).
    """

    file: FileState
    running: bool
    effective: str = field(compare=False)
    containers: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class ContainerOptions(Simple):
    """A container's options are written, and in effect: where it runs, it is restarted.

    The restart is part of it, and no consequence, so that on the way back the container has
    left its profile before the profile is taken from the kernel. The file is written between stop
    and start: Proxmox writes it anew at every stop, in its own form, and at no start.

    Args:
        id: the key of its journal entries.
        title: what people call it.
        requirement: the clause it implements.
        path: the container's configuration.
        edit: returns the desired configuration; applied twice it changes nothing more.
        put_back: returns a configuration with what ``edit`` sets as it is in another one, which
            is the second argument, and all else as it is.
        running: whether the container runs.
        effective: what it was last started with, as the runtime wrote it down.
        start: starts it and waits until it has booted.
        shutdown: lets it end.
        containers: returns Docker's containers that run in it.
        require_ours: raises Busy if something else starts it and lets it end.
        pending: returns what the next stop would change of a configuration that is as desired,
            in words with the way out; empty if nothing.
        normalised: whether every stop writes the file anew, in Proxmox's normal form.
    """

    id: str
    title: str
    requirement: str
    path: str
    edit: Callable[[bytes | None], bytes] = field(compare=False)
    put_back: Callable[[str, str], str] = field(compare=False)
    running: Callable[[], bool] = field(compare=False)
    effective: Callable[[], str] = field(compare=False)
    start: Callable[[], None] = field(compare=False)
    shutdown: Callable[[], None] = field(compare=False)
    containers: Callable[[], tuple[str, ...]] = field(default=lambda: (), compare=False)
    require_ours: Callable[[], None] = field(default=lambda: None, compare=False)
    pending: Callable[[str], str] = field(default=lambda _: "", compare=False)
    normalised: bool = False

    before: ClassVar[Any] = OptionsState

    def capture(self, on: Transport) -> OptionsState:
        """See :class:`remediation.engine.action.Action`."""
        state = self._state(on)
        return replace(state, containers=self.containers()) if state.running else state

    def _state(self, on: Transport) -> OptionsState:
        """Return what the node says of it; nobody inside is asked."""
        file, running = self._file.capture(on), self.running()
        return OptionsState(file, running, self.effective() if running else "")

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.engine.action.Action`."""
        content = on.read(self.path)
        if drift := self._file.drift(on, content):
            return drift
        waits = self.pending(_text(content or b""))
        return Drift(waits) if waits else None

    def require_reversible(self, on: Transport) -> None:
        """See :class:`remediation.engine.action.Action`.

        What is pending does not come back, either.
        """
        written = self._require_free(on)
        if waits := self.pending(written):
            raise FactError(f"{waits}. The plan does not decide that, and changes nothing before")

    def _require_free(self, on: Transport) -> str:
        """Return the configuration; raises Busy if it is locked: a lock goes with its holder."""
        written = _text(on.read(self.path) or b"")
        if lock := container_config.parse(self.path, written).current().get("lock"):
            raise Busy(
                f"{self.path} on {on.machine}: the container is locked ({lock}), something is at "
                "work on it; wait until that has ended, and if it never will: pct unlock"
            )
        self.require_ours()
        return written

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.engine.action.Action`."""
        state = self._file.capture(on)
        desired = self.edit(files.content(state))
        files.require_file(on, self.path, state)
        with self._stopped(due=self.running()):
            files.write(on, self.path, state, desired)

    def rollback(self, on: Transport, before: OptionsState) -> str | None:
        """See :class:`remediation.engine.action.Action`.

        Where disks or snapshots came or went since, the file as it was would lose them: then
        only what the plan had put into it is taken out.
        """
        back = self._back(self._file.capture(on), before.file)  # before a stop puts it in its form
        runs = self.running()
        due = runs and not (before.running and self.effective() == before.effective)
        with self._stopped(due=due, start=before.running and (due or not runs)):
            files.restore(on, self.path, back)
        return _OTHER_VOLUMES if back is not before.file else None

    def standing(self, on: Transport) -> OptionsState:
        """See :class:`remediation.engine.action.Action`: the file; what runs in it may not answer.

        Raises:
            Busy: something is at work on it, which would lose its lock, or it is not ours.
        """
        self._require_free(on)
        return OptionsState(self._file.capture(on), running=False, effective="")

    def meddled(
        self, now: OptionsState, before: OptionsState, after: OptionsState | None
    ) -> Drift | None:
        """See :class:`remediation.engine.action.Action`."""
        drift = self._file.meddled(now.file, before.file, after.file if after else None)
        if drift is None or now.file.kind != "file":
            return drift
        left = replace((after or before).file, content=now.file.content)
        same = files.same(now.file, left) and any(
            self._says_the_same(_text(now.file.content), _text(content))
            for content in (drift.should, before.file.content)
        )
        return None if same else drift

    def _says_the_same(self, now: str, left: str) -> bool:
        """Whether nobody but Proxmox wrote the file anew, beside disks and snapshots."""
        if not self.normalised:
            return container_config.same_beside_volumes(now, left)
        theirs = dropped(now) - dropped(left)  # gone at the next stop, and somebody's all the same
        return not theirs and container_config.same_beside_volumes(
            normal_form(now), normal_form(left)
        )

    def restored(self, on: Transport, before: OptionsState) -> bool:
        """See :class:`remediation.engine.action.Action`.

        Byte for byte, unless disks or snapshots came or went since: then what the plan sets is as
        it was. Or as Proxmox wrote it anew, if the container was stopped since. It is the node's to
        say, whatever the guest answers by now.
        """
        now = self._state(on)
        if self._is_rewritten(now.file, before.file):
            now = replace(now, file=before.file)
        return now == replace(before, file=self._back(now.file, before.file))

    def remark(self, on: Transport, before: OptionsState) -> str:
        """See :class:`remediation.engine.action.Action`."""
        if not self._is_rewritten(self._file.capture(on), before.file):
            return ""
        return (
            f"{self.path} says what it said before; the container was stopped meanwhile, and "
            "Proxmox wrote the file anew, in its own form"
        )

    def _is_rewritten(self, now: FileState, before: FileState) -> bool:
        """Whether a file is what Proxmox makes of the former one at a stop."""
        if not self.normalised or now == before or now.kind != "file":
            return False
        written = normal_form(_text(before.content)).encode(errors="surrogateescape")
        return files.same(now, replace(before, content=written))

    def price(self, on: Transport, before: OptionsState | None) -> list[str]:  # noqa: ARG002
        """See :class:`remediation.engine.action.Action`."""
        if not self.running():
            return []
        if before is not None and not before.running:
            return [f"{self.title}: it is stopped, as it was before the plan"]
        if before is not None and self.effective() == before.effective:
            return []
        return [f"{self.title}: it is restarted"]

    @contextmanager
    def _stopped(self, *, due: bool, start: bool | None = None) -> Iterator[None]:
        """Stop the container if that is due, and start it afterwards.

        Args:
            due: whether it runs, and must not while its file is written.
            start: whether it is to run afterwards; None is if it was stopped here.
        """
        if due:
            self.shutdown()
        try:
            yield
        except RemediationError:
            if due:  # a file that could not be written is no reason to leave it stopped
                self.start()
            raise
        if due if start is None else start:
            self.start()

    @property
    def _file(self) -> FileEdit:
        return FileEdit(self.id, self.title, self.requirement, self.path, self.edit)

    def _back(self, now: FileState, before: FileState) -> FileState:
        """Return what the file is on the way back: as before, but for newer disks and snapshots.

        A file that says this already stays: pct may have written it anew, in another order.
        """
        text, former = _text(now.content), _text(before.content)
        if now.kind != "file" or self._volumes(text) == self._volumes(former):
            return before
        back = self.put_back(text, former)
        if container_config.same_beside_volumes(back, text):
            return now
        return replace(now, content=back.encode(errors="surrogateescape"), mtime="")

    def _volumes(self, text: str) -> frozenset[tuple[str, str, str]]:
        return container_config.volumes(normal_form(text) if self.normalised else text)


def _text(content: bytes) -> str:
    return content.decode(errors="surrogateescape")
