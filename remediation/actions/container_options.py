"""A container's options, which are in effect only once it was restarted with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from typing_extensions import override

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import Busy, Dropped, FactError, RemediationError
from docker_lxc_gate.facts import docker, startable
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.formats.archive import FileState  # noqa: TC001 - journals are read back by a state's types
from docker_lxc_gate.formats.proxmox import dropped, is_rewritten, normal_form
from docker_lxc_gate.machines import files
from docker_lxc_gate.machines.read import Read, content_of
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.runtime.waiting import wait_until_booted
from docker_lxc_gate.machines.transport import Transport
from remediation.actions.file_edit import FileEdit
from remediation.actions.storage_driver import lost_when_ended
from remediation.engine.action import Action, Drift, SideEffect

#: What becomes of a container's options that are rolled back beside other disks or snapshots.
_OTHER_VOLUMES = (
    "without what the plan had set, and else as it is: disks or snapshots changed since, and stay; "
    "so does what else was changed by hand, and what a snapshot taken since holds"
)


def _machine_id(result: CommandResult) -> str:
    found = patterns.fullmatch(rb"([0-9a-f]{32})\n?", result.stdout)
    return found[1].decode() if found else ""


#: Made at the first boot, and kept by a migration and in a backup. Source: machine-id(5).
_MACHINE_ID = Read(content_of("/etc/machine-id").argv, _machine_id)
#: What is asked in the container before a change.
INSIDE = (docker.RUNNING, _MACHINE_ID, docker.REMOVED_WHEN_ENDED)


@dataclass(frozen=True)
class OptionsState:
    """A container's configuration, whether it runs, and the configuration that it runs with.

    ``effective`` tells whether a restart is due. It is excluded from equality: if the file was
    edited before ``apply`` without a restart, the configuration that the container was running with
    cannot be restored. So are the Docker ``containers`` that ran in it: they may end by themselves.
    ``machine_id`` tells the container from another one of the same number; empty: not known.

    Stored in journals: its fields are a schema (test_stored_states.py).
    """

    file: FileState
    running: bool
    effective: str = field(compare=False)
    containers: tuple[str, ...] = field(default=(), compare=False)
    machine_id: str = field(default="", compare=False)


@dataclass(frozen=True)
class ContainerOptions(Action[OptionsState]):
    """A container's options are written, and in effect: where it runs, it is restarted.

    The restart is part of it, and no consequence, so that on the way back the container has
    left its profile before the profile is taken from the kernel. The file is written between stop
    and start: Proxmox writes it anew at every stop, in its own form, and at no start.

    Args:
        edit: returns the desired configuration; applied twice it changes nothing more.
        put_back: returns a configuration in which everything that ``edit`` sets is as in another
            one, which is the second argument, and all else stays.
        seccomp: the list of system calls that the plan names, a file of the node; or empty.
        keyrings: whether it wants the feature ``keyctl``.
        pending: returns, in words with the way out, what the next stop would change of a
            configuration that is as desired; empty if nothing.
    """

    runtime: Runtime = field(compare=False)
    ctid: int
    edit: Callable[[bytes | None], bytes] = field(compare=False)
    put_back: Callable[[str, str], str] = field(compare=False)
    pending: Callable[[str], str] = field(default=lambda _: "", compare=False)
    seccomp: str = ""
    keyrings: bool = False

    before: ClassVar[Any] = OptionsState

    @property
    def path(self) -> str:  # type: ignore[override]
        """The file of the container's configuration."""
        return self.runtime.config_path(self.ctid)

    def _running(self, on: Transport) -> bool:
        return self.runtime.on(on).state(self.ctid) == "running"

    def _effective(self, on: Transport) -> str:
        """Return the configuration that the running container was started with."""
        return self.runtime.on(on).started_with(self.ctid)

    def _runs_as(self, on: Transport, now: FileState, before: OptionsState) -> bool:
        """Whether it runs with what it ran with before; plain LXC shows no seccomp list."""
        same = self._normalised or _seccomp_list(now) == _seccomp_list(before.file)
        return same and self._effective(on) == before.effective

    @property
    def _normalised(self) -> bool:
        """Whether every stop writes the file anew, in Proxmox's normal form."""
        return self.runtime.kind == "pct"

    @override
    def capture(self, on: Transport) -> OptionsState:
        state = self.left(on)
        if not state.running:
            return state
        inside = self.runtime.on(on).inside(self.ctid)
        return replace(
            state, containers=inside.ask(docker.RUNNING), machine_id=inside.ask(_MACHINE_ID)
        )

    def machine(self, on: Transport) -> str:
        """Return the running container's machine-id."""
        return self.runtime.on(on).inside(self.ctid).ask(_MACHINE_ID)

    @override
    def left(self, on: Transport) -> OptionsState:
        """What the node says of it; nobody inside is asked."""
        file, running = self._file.capture(on), self._running(on)
        return OptionsState(file, running, self._effective(on) if running else "")

    @override
    def check(self, on: Transport) -> Drift | None:
        content = on.read(self.path)
        if drift := self._file.drift(content):
            return drift
        waits = self.pending(_text(content or b""))
        return Drift(waits) if waits else None

    @override
    def require_reversible(self, on: Transport) -> None:
        """What is pending does not come back, either; and the container must start."""
        self._require_list(on)
        written = self._require_free(on)
        if waits := self.pending(written):
            raise FactError(f"{waits}. The plan does not decide that, and changes nothing before")
        self._file.require_reversible(on)

    def _require_list(self, on: Transport) -> None:
        """Raise FactError if the plan's seccomp list is no file, or refuses what the plan wants."""
        if not self.seccomp:
            return
        if not on.look(["test", "-f", self.seccomp]).ok:
            raise FactError(
                f"the plan's seccomp list, {self.seccomp}, is absent on {on.machine}, or no file. "
                "The container would not start: write it there, or another path into the plan"
            )
        refuses = container_config.refuses((on.read(self.seccomp) or b"").decode(errors="replace"))
        if self.keyrings and refuses:
            raise FactError(
                f"the plan wants the feature keyctl, and its seccomp list, {self.seccomp}, refuses "
                "that system call: take keyctl out of one of them"
            )

    def _require_free(self, on: Transport) -> str:
        """Return the configuration; raises Busy if it cannot be changed now.

        It is that of the before-image, and not of an earlier read. Without quorum its mode is
        another one, so that is asked first. A lock goes with its holder.
        """
        self.runtime.on(on).require_control(self.ctid)
        written = _text(self._file.capture(on).content)
        if lock := container_config.parse(self.path, written).current().get("lock"):
            raise Busy(
                f"{self.path} on {on.machine}: the container is locked ({lock}), something is at "
                "work on it; wait until that has ended, and if it never will: pct unlock"
            )
        return written

    @override
    def apply(self, on: Transport) -> None:
        state = self._file.capture(on)
        desired = self.edit(files.content(state))
        files.require_file(on, self.path, state)
        with self._stopped(on, due=self._running(on)):
            files.write(on, self.path, state, desired)

    @override
    def rollback(self, on: Transport, before: OptionsState) -> str | None:
        # Where disks or snapshots came or went since, the file as it was would lose them: then
        # only what the plan had put into it is taken out.
        now = self._file.capture(on)
        back = self._back(now, before.file)  # before a stop puts it in its form
        runs = self._running(on)
        due = runs and not (before.running and self._runs_as(on, now, before))
        with self._stopped(on, due=due, runs_after=before.running and (due or not runs)):
            files.restore(on, self.path, back)
        return _OTHER_VOLUMES if back is not before.file else None

    def current(self, on: Transport) -> OptionsState:
        """See :class:`remediation.engine.action.Action`: the file; what runs in it may not answer.

        Raises Busy if something is at work on it and would lose its lock, or it is not in our
        control.
        """
        self._require_free(on)
        return OptionsState(self._file.capture(on), running=False, effective="")

    @override
    def changed_since(
        self, now: OptionsState, before: OptionsState, after: OptionsState | None
    ) -> Drift | None:
        drift = self._file.changed_since(now.file, before.file, after.file if after else None)
        if drift is None or now.file.kind != "file":
            return drift
        left = replace((after or before).file, content=now.file.content)
        same = now.file.same(left) and any(
            self._says_the_same(_text(now.file.content), _text(content))
            for content in (drift.should, before.file.content)
        )
        if same:
            return None
        return self._compared(drift) if self._normalised else drift

    def _compared(self, drift: Drift) -> Drift:
        """Return a drift with the normal forms, and the lines that only the present file has."""
        now, left = _text(drift.is_), _text(drift.should)
        theirs = "".join(f"{line}\n" for line in sorted(dropped(now) - dropped(left)))
        shown = normal_form(now) + theirs, normal_form(left)
        is_, should = (each.encode(errors="surrogateescape") for each in shown)
        return replace(drift, shown=(is_, should))

    def _says_the_same(self, now: str, left: str) -> bool:
        """Whether only Proxmox rewrote the file, apart from disks and snapshots."""
        if not self._normalised:
            return container_config.same_beside_volumes(now, left)
        theirs = dropped(now) - dropped(left)  # gone at the next stop, and somebody's all the same
        return not theirs and container_config.same_beside_volumes(
            normal_form(now), normal_form(left)
        )

    @override
    def restored(self, on: Transport, before: OptionsState) -> bool:
        # Byte for byte, unless disks or snapshots came or went since: then what the plan sets is as
        # it was. Or in Proxmox's own form, if the container was stopped since. It is the node's to
        # say, whatever the guest answers by now.
        now = self.left(on)
        if self._is_rewritten(now.file, before.file):
            now = replace(now, file=before.file)
        return now == replace(before, file=self._back(now.file, before.file))

    def remark(self, on: Transport, before: OptionsState) -> str:
        """Say that Proxmox rewrote the file; empty if it is as before, byte for byte."""
        if not self._is_rewritten(self._file.capture(on), before.file):
            return ""
        return (
            f"{self.path} says what it said before; the container was stopped after `apply`. "
            "Proxmox rewrote the file in its own form"
        )

    def _is_rewritten(self, now: FileState, before: FileState) -> bool:
        return self._normalised and is_rewritten(now, before)

    @override
    def side_effects(self, on: Transport, before: OptionsState | None) -> list[SideEffect]:
        if not self._running(on):
            return []
        if before is not None and not before.running:
            title = f"{self.title}: it is stopped, as it was before the plan"
            return [SideEffect(f"stop container {self.ctid}", title)]
        if before is not None and self._runs_as(on, self._file.capture(on), before):
            return []
        loses: tuple[str, ...] = ()
        if before is None:
            loses = lost_when_ended(self.runtime.on(on).inside(self.ctid))
        title = f"{self.title}: it is restarted"
        return [SideEffect(f"restart container {self.ctid}", title, loses)]

    @contextmanager
    def _stopped(
        self, on: Transport, *, due: bool, runs_after: bool | None = None
    ) -> Iterator[None]:
        """Stop the container if that is due: it runs, and must not while its file is written.

        Start it afterwards if it is to run (``runs_after``; None: if it was stopped here). What the
        node answered before the stop is forgotten.
        """
        if due:
            self.runtime.on(on).shutdown(self.ctid)
        try:
            yield
        except Dropped:  # with the lock; whoever takes it next starts the container
            raise
        except RemediationError:
            if due:  # a file that could not be written is no reason to leave it stopped
                start(self.runtime, self.ctid)
            raise
        if due if runs_after is None else runs_after:
            start(self.runtime, self.ctid)

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
        return container_config.volumes(normal_form(text) if self._normalised else text)


def start(runtime: Runtime, ctid: int) -> None:
    """Start a container, and wait until it has booted."""
    startable.start(runtime, ctid)
    wait_until_booted(runtime.inside(ctid))


def _seccomp_list(file: FileState) -> str | None:
    written = container_config.parse_lxc("", _text(file.content)).current()
    return written.get("lxc.seccomp.profile")


def _text(content: bytes) -> str:
    return content.decode(errors="surrogateescape")
