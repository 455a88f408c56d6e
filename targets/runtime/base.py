"""What manages containers on a node: Proxmox's ``pct``, or LXC's own tools.

A container is a transport wrapped in a transport: ``Pct(node).inside(950)`` only rewrites
argv to ``pct exec 950 -- …`` and hands it to the node's transport.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Protocol

import stamina

from targets.errors import Busy, Elsewhere, FactError, TransportError, Unreachable
from targets.printable import cut
from targets.runtime import container_config
from targets.transport import CommandResult, Inside, Transport

if TYPE_CHECKING:
    from collections.abc import Sequence

#: ``pct exec`` gives no HOME, and a locale of its own: both are stated here, once.
_ENVIRONMENT = ("env", "HOME=/root", "LC_ALL=C.UTF-8")
#: What pct says of a container that its node does not have.
_PCT_ABSENT = r"^Configuration file '.*' does not exist"
#: pct's own errors, as it words them, and what to do. Source: transcripts of it; the lock on the
#: file, root and ``ipcc_send_rec`` (Proxmox's cluster filesystem) as its users report them.
_PCT_ERRORS = {
    r"^container '[0-9]+' not running!|^CT [0-9]+ not running": "start it: pct start {ctid}",
    r"^CT is locked \(\S+\)": (
        "wait until that has ended; if nothing of the kind runs any more: pct unlock {ctid}"
    ),
    r"can't lock file '/run/lock/lxc/": "another pct is at work on it: wait, then ask again",
    r"pct: (command )?not found|^env: \Wpct\W: ": (
        "is it a Proxmox host? pct is in /usr/sbin there; plain LXC is runtime = 'lxc'"
    ),
    r"^please run as root|^ipcc_send_rec.*(Unknown error|[Pp]ermission denied)": (
        "pct is root's: log in as root, or set sudo = true in a target file"
    ),
    r"^ipcc_send_rec": "Proxmox's cluster filesystem does not answer: systemctl status pve-cluster",
}
#: What Proxmox's high availability looks after: a section each, ``ct: CTID`` and indented lines.
_HA = "/etc/pve/ha/resources.cfg"
_HA_SECTION = r"^(?:ct|vm): *{}\b.*((?:\n(?:[ \t]+\S|#).*)*)"
#: Of these states pct says "running": there is somebody to talk to. Source: PVE::LXC, vmstatus.
_UP = frozenset({"RUNNING", "STARTING", "STOPPING", "FREEZING", "FROZEN", "THAWED"})
_INCLUDE = re.compile(r"^[ \t]*lxc\.include[ \t]*=[ \t]*(\S+).*$", re.MULTILINE)
_NESTED = 8  #: deeper than anybody nests, shallow enough to end
#: Without such a unit, as where LXC's own tools started it, there is nothing to wait for (60 s).
_ENDED = """
for _ in $(seq 300); do systemctl is-active -q "$1" || exit 0; sleep 0.2; done
echo "it is still active" >&2; exit 1
"""
#: A process's profile, and what LXC mounted for it.
_EFFECTS = 'cat "$1/attr/current" && { grep -E " /dev/(fuse|[.]lxc/[a-z]+) " "$1/mounts" || :; }'


class Runtime(Protocol):
    """Manages the containers of one node."""

    node: Transport

    def inside(self, ctid: int) -> Transport:
        """Return a transport whose commands run in the container."""

    def configuration(self, ctid: int) -> container_config.ContainerConfig:
        """Return the configuration as written; raises FactError if there is no container."""

    def effective(self, ctid: int) -> container_config.ContainerConfig:
        """Return LXC's configuration as it is written, includes resolved.

        Proxmox writes it from its own at each start and each stop, and at ``pct set``.
        """

    def started_with(self, ctid: int) -> str:
        """Return what can be known of that with which a running container was started."""

    def features(self, ctid: int) -> dict[str, str]:
        """Return what the container is given, in the words of Proxmox's ``features``."""

    def state(self, ctid: int) -> str | None:
        """Return ``running``, ``stopped`` …, or None if there is no such container."""

    def require_ours(self, ctid: int) -> None:
        """Raise Busy if something else starts the container and lets it end."""

    def start(self, ctid: int) -> None:
        """Start the container; raises CommandFailed with what the runtime said."""

    def stop(self, ctid: int) -> None:
        """Stop the container at once."""

    def shutdown(self, ctid: int) -> None:
        """Let the container end what it does, then stop it."""

    def destroy(self, ctid: int) -> None:
        """Destroy a stopped container and its root."""

    def init_pid(self, ctid: int) -> int:
        """Return the pid, on the node, of the first process; raises TransportError if stopped."""

    def config_path(self, ctid: int) -> str:
        """Return the file in which the container's options are written."""


class _Lxc:
    """What both runtimes do with LXC's own tools, which Proxmox has, too."""

    _LXC_PATH = "/var/lib/lxc"
    _START = "lxc-start -n"

    def __init__(self, node: Transport) -> None:
        self.node = node

    def require_ours(self, ctid: int) -> None:
        """See :class:`Runtime`; LXC's own tools know of nobody else."""

    def init_pid(self, ctid: int) -> int:
        """Return the node's pid of the container's first process.

        Raises:
            TransportError: the container is not running.
        """
        answer = self.node.run(["lxc-info", "-P", self._LXC_PATH, "-n", str(ctid), "-p", "-H"])
        if not answer.ok or not re.fullmatch(r"[0-9]+\s*", answer.text):
            raise TransportError(
                f"container {ctid} on {self.node.machine} is not running: "
                f"start it ({self._START} {ctid}) and ask again"
            )
        return int(answer.text)

    def effective(self, ctid: int) -> container_config.ContainerConfig:
        """See :class:`Runtime`."""
        path = f"{self._LXC_PATH}/{ctid}/config"
        content = self.node.read(path)
        if content is None:
            raise FactError(f"{path} does not exist on {self.node.machine}")
        return container_config.parse_lxc(
            path, self._resolved(path, content.decode(errors="replace"))
        )

    def _resolved(self, path: str, text: str) -> str:
        """Return a configuration with each ``lxc.include`` replaced by what it includes."""
        for _ in range(_NESTED + 1):  # one round trip a level
            includes = list(dict.fromkeys(_INCLUDE.findall(text)))
            if not includes:
                return text
            if odd := [place for place in includes if not place.startswith("/")]:
                raise FactError(f"{path}: lxc.include = {odd[0]}: expected an absolute path")
            files = self._included(includes)
            text = _INCLUDE.sub(lambda line: _of(line[1], files), text)  # noqa: B023 - used at once
        raise FactError(f"{path}: lxc.include is nested more than {_NESTED} deep")

    def _seccomp(self, path: str) -> str:
        """Return a list of system calls; LXC starts nothing with one that is not there."""
        return (self.node.read(path) or b"").decode(errors="replace") if path else ""

    def _included(self, places: Sequence[str]) -> dict[str, str]:
        """Return the files at these places, and in them where they are directories."""
        found = ("find", "-L", *places, "-maxdepth", "1", "-type", "f")
        shown = self.node.run([*found, "-exec", "grep", "-aHZ", "", "{}", "+"])
        files: dict[str, str] = {}
        for line in shown.text.split("\n"):
            name, _, content = line.partition("\0")
            files[name] = f"{files[name]}\n{content}" if name in files else content
        return files


def _of(place: str, files: dict[str, str]) -> str:
    """Return what one include stands for: a file, or a directory's ``*.conf``, by name."""
    inside = re.compile(re.escape(place.rstrip("/")) + r"/[^/]+\.conf")
    names = [name for name in sorted(files) if name == place or inside.fullmatch(name)]
    return "\n".join(files[name] for name in names)


class Pct(_Lxc):
    """Containers of Proxmox VE, through ``pct``. Source: pct(1) and transcripts of it."""

    _START = "pct start"

    def inside(self, ctid: int) -> Transport:
        """See :class:`Runtime`."""

        def wrap(argv: Sequence[str]) -> list[str]:
            return ["pct", "exec", str(ctid), "--keep-env", "0", "--", *_ENVIRONMENT, *argv]

        return Inside(self.node, f"container {ctid}", wrap, partial(self._examine, ctid))

    def _examine(self, ctid: int, result: CommandResult) -> None:
        """Tell pct's own errors from the command's (both use 2 and 255), and what to do."""
        if not result.exit_code:
            return
        said = result.stderr.decode(errors="replace")
        if re.search(_PCT_ABSENT, said, re.MULTILINE):
            raise TransportError(self._absent(ctid))
        for pattern, advice in _PCT_ERRORS.items():
            if found := re.search(pattern, said, re.MULTILINE):
                raise TransportError(
                    f"on {result.machine}: {result.command}: {cut(said[found.start() :].strip())}\n"
                    + advice.format(ctid=ctid)
                )

    def _elsewhere(self, ctid: int) -> str:
        """Return the other node of the cluster that has the container, if one has."""
        search = ["find", "/etc/pve/nodes", "-path", f"*/lxc/{ctid}.conf"]
        found = re.search(r"nodes/([^/]+)/lxc/", self.node.run(search).text)
        return found[1] if found else ""

    def _absent(self, ctid: int) -> str:
        """Return what to tell about a container that this node does not have."""
        if name := self._elsewhere(ctid):
            return (
                f"container {ctid} is not on {self.node.machine} but on {name}, a node of the same "
                "cluster: name that one as the target, or migrate the container"
            )
        return (
            f"there is no container {ctid} on {self.node.machine} ({self.config_path(ctid)} does "
            "not exist): pct list shows those that are"
        )

    def _pct(self, verb: str, ctid: int, *options: str, timeout: float = 60.0) -> CommandResult:
        result = self.node.run(["pct", verb, str(ctid), *options], timeout=timeout)
        self._examine(ctid, result)
        return result

    def config_path(self, ctid: int) -> str:
        """See :class:`Runtime`."""
        return f"/etc/pve/lxc/{ctid}.conf"

    def configuration(self, ctid: int) -> container_config.ContainerConfig:
        """See :class:`Runtime`."""
        path = self.config_path(ctid)
        content = self.node.read(path)
        if content is None:
            raise FactError(self._absent(ctid))
        return container_config.parse(path, content.decode(errors="replace"))

    def started_with(self, ctid: int) -> str:
        """See :class:`Runtime`: of a running container pct wrote LXC's configuration at its start.

        It writes it at a stop and at ``pct set``, too. With the list of system calls, of which the
        configuration names but the path: that alone says whether there is keyctl. Of the
        processors Proxmox takes other ones each time (pve-container, rand).
        """
        effective = self.effective(ctid)
        written = [line for line in str(effective).splitlines() if "cpuset.cpus" not in line]
        calls = self._seccomp(effective.current().get("lxc.seccomp.profile", ""))
        return "\n".join([*written, *calls.splitlines()])

    def features(self, ctid: int) -> dict[str, str]:
        """See :class:`Runtime`; a pending or snapshotted value does not count."""
        return container_config.features(self.configuration(ctid).current().get("features", ""))

    def state(self, ctid: int) -> str | None:
        """See :class:`Runtime`.

        LXC's word counts if Proxmox has the container on this node: that starts no pct, a large
        program. If either is not so, pct is asked, which says what is wrong.
        """
        look = ["lxc-info", "-P", self._LXC_PATH, "-n", str(ctid), "-s", "-H"]
        seen = self.node.run(["find", self.config_path(ctid), "-exec", *look, ";"])
        if seen.ok and seen.text.strip() in _UP:
            return "running"
        never_started = b"doesn't exist" in seen.stdout + seen.stderr
        if seen.ok and (seen.text.strip() == "STOPPED" or never_started):
            return "stopped"
        answer = self.node.run(["pct", "status", str(ctid)])
        if re.search(_PCT_ABSENT, answer.stderr.decode(errors="replace")):
            if name := self._elsewhere(ctid):  # None would have it created a second time
                raise Elsewhere(self._absent(ctid), name)
            return None
        self._examine(ctid, answer)
        match = re.match(r"status: (\S+)", answer.require().text)
        if match is None:
            raise FactError(f"pct status {ctid} said {answer.text!r}")
        return match[1]

    def require_ours(self, ctid: int) -> None:
        """See :class:`Runtime`: of a container that Proxmox's HA manages.

        There pct only notes what is wanted and returns at once; the manager does it later, and
        keeps the container stopped that was to be restarted. Source: pve-container's API (vm_stop,
        vm_shutdown), ha-manager(1), and PVE::HA::Config for "ignored".
        """
        written = (self.node.read(_HA) or b"").decode(errors="replace")
        found = re.search(_HA_SECTION.format(ctid), written, re.MULTILINE)
        if found is None:
            return
        stated = re.search(r"^[ \t]+state[ \t]+(\S+)", found[1], re.MULTILINE)
        state = stated[1] if stated else "started"
        if state != "ignored":
            raise Busy(
                f"container {ctid} on {self.node.machine} is managed by Proxmox's HA ({_HA}), "
                "which does later what is asked of it, and would leave it stopped. Take it from "
                f"HA: ha-manager set ct:{ctid} --state ignored; afterwards: --state {state}"
            )

    def start(self, ctid: int) -> None:
        """See :class:`Runtime`."""
        self.require_ours(ctid)
        self._pct("start", ctid, timeout=180).require()

    def stop(self, ctid: int) -> None:
        """See :class:`Runtime`."""
        self.require_ours(ctid)
        self._pct("stop", ctid, timeout=180).require()
        self._require_ended(ctid)

    def shutdown(self, ctid: int) -> None:
        """See :class:`Runtime`."""
        self.require_ours(ctid)
        options = ("--timeout", "60", "--forceStop", "1")
        self._pct("shutdown", ctid, *options, timeout=180).require()
        self._require_ended(ctid)

    def _require_ended(self, ctid: int) -> None:
        """Wait for the container's unit, whose last act is Proxmox's hook that writes its file."""
        unit = f"pve-container@{ctid}.service"
        self.node.run(["sh", "-c", _ENDED, "ended", unit], timeout=90).require(
            f"{unit} is still there after the stop: journalctl -u {unit} says why"
        )

    def destroy(self, ctid: int) -> None:
        """See :class:`Runtime`."""
        self._pct("destroy", ctid, timeout=180).require()


class Lxc(_Lxc):
    """Containers of plain LXC, through its own tools. Source: lxc-attach(1), lxc-info(1)."""

    def inside(self, ctid: int) -> Transport:
        """See :class:`Runtime`."""

        def wrap(argv: Sequence[str]) -> list[str]:
            attach = ["lxc-attach", "-P", self._LXC_PATH, "-n", str(ctid), "--clear-env"]
            return [
                *attach,
                "-v",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "--",
                *_ENVIRONMENT,
                *argv,
            ]

        return Inside(self.node, f"container {ctid}", wrap, partial(self._examine, ctid))

    def _examine(self, ctid: int, result: CommandResult) -> None:
        """Tell lxc-attach's own error (exit code 1, like many a command's), and what to do."""
        said = result.stderr.decode(errors="replace")
        if result.exit_code and re.search(rf"^lxc-attach: {ctid}: .*init pid", said, re.MULTILINE):
            if self.node.read(self.config_path(ctid)) is None:
                raise TransportError(self._absent(ctid))
            raise TransportError(
                f"container {ctid} on {result.machine} is not running: {cut(said.strip())}\n"
                f"start it: {self._START} {ctid}"
            )

    def _absent(self, ctid: int) -> str:
        return (
            f"there is no container {ctid} on {self.node.machine} ({self.config_path(ctid)} does "
            "not exist): lxc-ls shows those that are"
        )

    def config_path(self, ctid: int) -> str:
        """See :class:`Runtime`."""
        return f"{self._LXC_PATH}/{ctid}/config"

    def configuration(self, ctid: int) -> container_config.ContainerConfig:
        """See :class:`Runtime`."""
        if self.node.read(self.config_path(ctid)) is None:
            raise FactError(self._absent(ctid))
        return self.effective(ctid)

    def started_with(self, ctid: int) -> str:
        """See :class:`Runtime`.

        LXC keeps no copy of the configuration, and lxc-info reads the file, which may have changed
        since; so it is known by its effects on the first process. Source: tools/lxc_info.c.
        """
        place = f"/proc/{self.init_pid(ctid)}"
        return self.node.run(["sh", "-c", _EFFECTS, "effects", place]).require().text

    def features(self, ctid: int) -> dict[str, str]:
        """See :class:`Runtime`."""
        effective = self.effective(ctid)
        named = effective.current().get("lxc.seccomp.profile", "")
        return container_config.granted(effective, self._seccomp(named))

    def state(self, ctid: int) -> str | None:
        """See :class:`Runtime`."""
        answer = self.node.run(["lxc-info", "-P", self._LXC_PATH, "-n", str(ctid), "-s", "-H"])
        if not answer.ok and b"doesn't exist" in answer.stdout + answer.stderr:
            return None
        return answer.require().text.strip().lower()

    def start(self, ctid: int) -> None:
        """See :class:`Runtime`."""
        self.node.run(["lxc-start", "-P", self._LXC_PATH, "-n", str(ctid)], timeout=180).require()

    def stop(self, ctid: int) -> None:
        """See :class:`Runtime`."""
        argv = ["lxc-stop", "-k", "-P", self._LXC_PATH, "-n", str(ctid)]
        self.node.run(argv, timeout=180).require()

    def shutdown(self, ctid: int) -> None:
        """See :class:`Runtime`."""
        argv = ["lxc-stop", "-t", "60", "-P", self._LXC_PATH, "-n", str(ctid)]
        self.node.run(argv, timeout=180).require()

    def destroy(self, ctid: int) -> None:
        """See :class:`Runtime`."""
        argv = ["lxc-destroy", "-P", self._LXC_PATH, "-n", str(ctid)]
        self.node.run(argv, timeout=180).require()


stamina.instrumentation.set_on_retry_hooks([])  # waiting is no news


class _Booting(Exception):
    """systemd in the container is still on its way."""


def _may_come(error: Exception) -> bool:
    """Whether waiting helps: not where the node itself is gone."""
    return isinstance(error, _Booting | TransportError) and not isinstance(error, Unreachable)


#: Asking again and again slows a boot down; before there is systemd the waiting ends at once.
_BOOTED = "timeout 20 systemctl is-system-running --wait; exec systemctl is-system-running"


def wait_until_booted(container: Transport, *, patience: float = 180.0) -> None:
    """Wait until systemd in the container has started what it starts, well or not.

    Args:
        container: its inside.
        patience: seconds.

    Raises:
        TransportError: it has not within that time, or its node cannot be reached any more.
    """

    @stamina.retry(on=_may_come, timeout=patience, attempts=None, wait_max=2.0)
    def settled() -> None:
        said = container.run(["sh", "-c", _BOOTED]).text.split()
        state = said[-1] if said else ""
        if state not in {"running", "degraded"}:
            raise _Booting(state)

    try:
        settled()
    except _Booting as error:
        raise TransportError(
            f"{container.machine} has not booted within {patience:g} s: systemd says '{error}'"
        ) from error


class _Offline(Exception):
    """The container has no default route yet."""


def wait_until_online(container: Transport, *, patience: float = 60.0) -> None:
    """Wait until the container has a default route: DHCP may take longer than booting.

    Args:
        container: its inside.
        patience: seconds.

    Raises:
        TransportError: it has none within that time.
    """

    @stamina.retry(on=_Offline, timeout=patience, attempts=None, wait_max=2.0)
    def routed() -> None:
        four = (container.read("/proc/net/route") or b"").splitlines()
        six = (container.read("/proc/net/ipv6_route") or b"").splitlines()
        # Source: proc(5); in both, the destination's bits are all zero, and "lo" leads nowhere.
        found = any(line.split()[1:2] == [b"00000000"] for line in four)
        found = found or any(
            re.match(rb"0{32} 00 ", line) and not line.endswith(b" lo") for line in six
        )
        if not found:
            raise _Offline

    try:
        routed()
    except _Offline as error:
        raise TransportError(
            f"{container.machine} has no default route within {patience:g} s: is there DHCP on its "
            "bridge (bridge in the target file)?"
        ) from error
