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
from docker_lxc_gate.formats import container_config, pct_options
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
    match = patterns.fullmatch(rb"([0-9a-f]{32})\n?", result.stdout)
    return match[1].decode() if match else ""


#: Made at the first boot, and kept by a migration and in a backup. Source: machine-id(5).
MACHINE_ID = Read(content_of("/etc/machine-id").argv, _machine_id)


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
        too_early: returns, in words, what must be done before a configuration is edited; empty if
            nothing.
    """

    runtime: Runtime = field(compare=False)
    ctid: int
    edit: Callable[[bytes | None], bytes] = field(compare=False)
    put_back: Callable[[str, str], str] = field(compare=False)
    pending: Callable[[str], str] = field(default=lambda _: "", compare=False)
    too_early: Callable[[str], str] = field(default=lambda _: "", compare=False)
    seccomp: str = ""
    keyrings: bool = False

    before: ClassVar[Any] = OptionsState

    @property
    def path(self) -> str:  # type: ignore[override]
        """The file of the container's configuration."""
        return self.runtime.config_path(self.ctid)

    @override
    def capture(self, on: Transport) -> OptionsState:
        state = self.left(on)
        if not state.running:
            return state
        inside = self.runtime.inside(self.ctid)
        return replace(
            state, containers=inside.ask(docker.RUNNING), machine_id=inside.ask(MACHINE_ID)
        )

    @override
    def left(self, on: Transport) -> OptionsState:
        """What the node says of it; nobody inside is asked."""
        file, running = self._file.capture(on), self.runtime.state(self.ctid) == "running"
        return OptionsState(file, running, self.runtime.started_with(self.ctid) if running else "")

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
        if self.seccomp:
            if not on.look(["test", "-f", self.seccomp]).ok:
                raise FactError(
                    f"the plan's seccomp list, {self.seccomp}, is absent on {on.machine}, or no "
                    "file. The container would not start: write it there, or another path into "
                    "the plan"
                )
            calls = (on.read(self.seccomp) or b"").decode(errors="replace")
            if self.keyrings and container_config.refuses(calls):
                raise FactError(
                    f"the plan wants the feature keyctl, and its seccomp list, {self.seccomp}, "
                    "refuses that system call: take keyctl out of one of them"
                )
        text = _text(self.current(on).file.content)
        options = container_config.parse(self.path, text).current()
        if pct_options.boolean(options.get("template", "")):
            raise FactError(
                f"container {self.ctid} is a template, which never starts: pct clone makes a "
                f"container of it ({self.path})"
            )
        if waits := self.pending(text):
            raise FactError(f"{waits}. The plan does not decide that, and changes nothing before")
        if first := self.too_early(text):
            raise FactError(first)
        self._file.require_reversible(on)

    @override
    def apply(self, on: Transport, before: OptionsState) -> None:
        state = self._file.capture(on)
        desired = self.edit(files.content(state))
        files.require_file(on, self.path, state)
        due = self.runtime.state(self.ctid) == "running"
        with _stopped(self.runtime, self.ctid, due=due, runs_after=due):
            files.write(on, self.path, state, desired)

    @override
    def rollback(self, on: Transport, before: OptionsState) -> str | None:
        # Where disks or snapshots came or went since, the file as it was would lose them: then
        # only what the plan had put into it is taken out.
        now = self._file.capture(on)
        back = self._back(now, before.file)  # before a stop puts it in its form
        runs = self.runtime.state(self.ctid) == "running"
        due = runs and not (before.running and _runs_as(self.left(on), before, pct=self._pct))
        runs_after = before.running and (due or not runs)
        with _stopped(self.runtime, self.ctid, due=due, runs_after=runs_after):
            files.restore(on, self.path, back)
        return _OTHER_VOLUMES if back is not before.file else None

    @override
    def current(self, on: Transport) -> OptionsState:
        """The file; what runs in the container may not answer.

        Raises Busy if something is at work on it and would lose its lock, or it is not in our
        control. Without quorum the file's mode is another one, so that is asked first.
        """
        self.runtime.require_control(self.ctid)
        file = self._file.capture(on)
        options = container_config.parse(self.path, _text(file.content)).current()
        if lock := options.get("lock"):
            raise Busy(
                f"{self.path} on {on.machine}: the container is locked ({lock}), something is at "
                "work on it; wait until that has ended, and if it never will: pct unlock"
            )
        return OptionsState(file, running=False, effective="")

    @override
    def changed_since(
        self, now: OptionsState, before: OptionsState, after: OptionsState | None
    ) -> Drift | None:
        drift = self._file.changed_since(now.file, before.file, after.file if after else None)
        if drift is None or now.file.kind != "file":
            return drift
        text, left = _text(drift.is_), _text(drift.should)
        same_file = now.file.same(replace((after or before).file, content=now.file.content))
        for content in (left, _text(before.file.content)):
            if same_file and _says_the_same(text, content, pct=self._pct):
                return None
        if not self._pct:
            return drift
        # In normal form, with the lines that only the present file has, and the next stop drops.
        theirs = "".join(f"{line}\n" for line in sorted(dropped(text) - dropped(left)))
        shown = _bytes(normal_form(text) + theirs), _bytes(normal_form(left))
        return replace(drift, shown=shown)

    @override
    def restored(self, on: Transport, before: OptionsState) -> bool:
        # Byte for byte, unless disks or snapshots came or went since: then what the plan sets is as
        # it was. Or in Proxmox's own form, if the container was stopped since. It is the node's to
        # say, whatever the guest answers by now.
        now = self.left(on)
        if self._pct and is_rewritten(now.file, before.file):
            now = replace(now, file=before.file)
        return now == replace(before, file=self._back(now.file, before.file))

    @override
    def remark(self, on: Transport, before: OptionsState) -> str:
        if not (self._pct and is_rewritten(self._file.capture(on), before.file)):
            return ""
        return (
            f"{self.path} says what it said before; the container was stopped after `apply`. "
            "Proxmox rewrote the file in its own form"
        )

    @override
    def side_effects(self, on: Transport, before: OptionsState | None) -> list[SideEffect]:
        if self.runtime.state(self.ctid) != "running":
            return []
        if before is not None and not before.running:
            title = f"{self.title}: it is stopped, as it was before the plan"
            return [SideEffect(f"stop container {self.ctid}", title)]
        if before is not None and _runs_as(self.left(on), before, pct=self._pct):
            return []
        loses: tuple[str, ...] = ()
        if before is None:
            loses = lost_when_ended(self.runtime.inside(self.ctid))
        title = f"{self.title}: it is restarted"
        return [SideEffect(f"restart container {self.ctid}", title, loses)]

    @property
    def _file(self) -> FileEdit:
        return FileEdit(self.id, self.title, self.requirement, self.path, self.edit)

    @property
    def _pct(self) -> bool:
        """Whether every stop writes the file anew, in Proxmox's normal form."""
        return self.runtime.kind == "pct"

    def _back(self, now: FileState, before: FileState) -> FileState:
        """Return what the file is on the way back: as before, but for newer disks and snapshots.

        A file that says this already stays: pct may have written it anew, in another order.
        """
        text, former = _text(now.content), _text(before.content)
        form = normal_form if self._pct else str
        volumes = container_config.volumes
        if now.kind != "file" or volumes(form(text)) == volumes(form(former)):
            return before
        back = self.put_back(text, former)
        if container_config.same_beside_volumes(back, text):
            return now
        return replace(now, content=_bytes(back), mtime="")


@contextmanager
def _stopped(runtime: Runtime, ctid: int, *, due: bool, runs_after: bool) -> Iterator[None]:
    """Stop the container if that is due: it runs, and must not while its file is written.

    Start it afterwards if it is to run.
    """
    if due:
        runtime.shutdown(ctid)
    try:
        yield
    except Dropped:  # with the lock; whoever takes it next starts the container
        raise
    except RemediationError:
        if due:  # a file that could not be written is no reason to leave it stopped
            start(runtime, ctid)
        raise
    if runs_after:
        start(runtime, ctid)


def start(runtime: Runtime, ctid: int) -> None:
    """Start a container, and wait until it has booted."""
    startable.start(runtime, ctid)
    wait_until_booted(runtime.inside(ctid))


def _runs_as(now: OptionsState, before: OptionsState, *, pct: bool) -> bool:
    """Whether it runs with what it ran with before; plain LXC shows no seccomp list."""
    same = pct or _seccomp_list(now.file) == _seccomp_list(before.file)
    return same and now.effective == before.effective


def _says_the_same(now: str, left: str, *, pct: bool) -> bool:
    """Whether only Proxmox rewrote the file, apart from disks and snapshots."""
    if not pct:
        return container_config.same_beside_volumes(now, left)
    theirs = dropped(now) - dropped(left)  # gone at the next stop, and somebody's all the same
    return not theirs and container_config.same_beside_volumes(normal_form(now), normal_form(left))


def _seccomp_list(file: FileState) -> str | None:
    written = container_config.parse_lxc("", _text(file.content)).current()
    return written.get("lxc.seccomp.profile")


def _text(content: bytes) -> str:
    return content.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
