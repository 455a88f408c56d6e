"""Containers of Proxmox VE, through its ``pct``."""

from __future__ import annotations

from typing_extensions import override

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import Busy, Elsewhere, FactError, TransportError
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.machines.read import ABSENT, Read
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.printable import cut
from docker_lxc_gate.tables import table

#: pct's message about a container that its node does not have.
_PCT_ABSENT = r"(?m)^Configuration file '.*' does not exist"
_PCT_ERRORS = table("docker_lxc_gate.machines.runtime", "pct_errors", dict[str, str])
_PVE = "/etc/pve"
#: The resources of Proxmox's HA: for each a section, ``ct: CTID`` and indented lines.
_HA = f"{_PVE}/ha/resources.cfg"
_HA_SECTION = r"(?m)^(?:ct|vm): *{}\b.*((?:\n(?:[ \t]+\S|#).*)*)"
#: LXC's states that pct calls "running". Source: PVE::LXC, vmstatus.
_UP = frozenset({"RUNNING", "STARTING", "STOPPING", "FREEZING", "FROZEN", "THAWED"})
_CONFIG = f"{_PVE}/lxc/{{}}.conf"
#: Prints the mode of a link that only Proxmox's cluster filesystem has, or stat's error, then the
#: resources of HA. Without quorum no mode there has a bit to write, and root is refused, too.
#: Source: PVE::Cluster (check_cfs_quorum) and pmxcfs of pve-cluster 9.1.6.
_IN_CONTROL = f"""
LC_ALL=C stat -c %a {_PVE}/local 2>&1
[ ! -e {_HA} ] || cat {_HA}
"""
#: Why nothing can be changed on a node of Proxmox's, and what to do.
NO_QUORUM = (
    "this node's cluster has no quorum: /etc/pve is read-only, and Proxmox starts no container. "
    "pvecm status shows the votes: bring the missing nodes back. Only if they are surely off, and "
    "stay off: pvecm expected 1. If one still runs, both write /etc/pve and start the same guests"
)
#: Waits up to 60 s for a unit to end, and its twin for a start with --debug or debug: 1. If LXC's
#: own tools started the container, it has no unit.
_ENDED = """
for _ in $(seq 300); do
    systemctl is-active -q "$1" "pve-container-debug@${1#*@}" || exit 0
    sleep 0.2
done
echo "it is still active" >&2; exit 1
"""


def _in_control(answer: CommandResult) -> tuple[bool, str]:
    mode, _, resources = answer.require().text.partition("\n")
    if ABSENT.decode() in mode:  # no Proxmox: nothing there is ever read-only
        return True, resources
    if not patterns.fullmatch("[0-7]{3,4}", mode):
        raise FactError(
            f"on {answer.machine}: Proxmox's cluster filesystem does not answer ({mode:.200}): "
            "systemctl status pve-cluster"
        )
    return bool(int(mode, 8) & 0o200), resources


#: Whether the cluster has quorum, or there is none, and the resources of Proxmox's HA.
IN_CONTROL = Read(("sh", "-c", _IN_CONTROL, "control"), _in_control)


def blocked(node: Transport) -> str:
    """Return why no container of a node can be started or changed now, and what to do, or ``""``.

    A node of plain LXC is never blocked.
    """
    return "" if node.ask(IN_CONTROL)[0] else NO_QUORUM


class Pct(Runtime):
    """Containers of Proxmox VE, through ``pct``. Source: pct(1) and transcripts of it."""

    kind = "pct"
    start_command = "pct start"

    def _examine(self, ctid: int, result: CommandResult) -> None:
        """Raise TransportError for an error that pct can say what to do about."""
        if not result.exit_code:
            return
        text = result.stderr.decode(errors="replace")
        if patterns.search(_PCT_ABSENT, text):
            raise TransportError(self._absent(ctid))
        for pattern, advice in _PCT_ERRORS.items():
            if match := patterns.search(f"(?m){pattern}", text):
                raise TransportError(
                    f"on {result.machine}: {result.command}: {cut(text[match.start() :].strip())}\n"
                    + advice.format(ctid=ctid)
                )

    def _elsewhere(self, ctid: int) -> str:
        """Return the other node of the cluster that has the container, if one has."""
        search = ["find", "/etc/pve/nodes", "-path", f"*/lxc/{ctid}.conf"]
        match = patterns.search(r"nodes/([^/]+)/lxc/", self.node.look(search).text)
        return match[1] if match else ""

    @override
    def _absent(self, ctid: int) -> str:
        if name := self._elsewhere(ctid):
            return (
                f"container {ctid} is not on {self.node.machine} but on {name}, a node of the same "
                "cluster: name that one as the target, or migrate the container"
            )
        return (
            f"there is no container {ctid} on {self.node.machine} ({self.config_path(ctid)} does "
            "not exist): pct list shows those that are"
        )

    def _pct(self, verb: str, ctid: int, *options: str) -> None:
        result = self.node.run(["pct", verb, str(ctid), *options], timeout=180)
        self._examine(ctid, result)
        result.require()

    @override
    def config_path(self, ctid: int) -> str:
        return _CONFIG.format(ctid)

    @override
    def configuration(self, ctid: int) -> container_config.ContainerConfig:
        path = self.config_path(ctid)
        content = self.node.read(path)
        if content is None:
            self.state(ctid)  # raises if Proxmox's cluster filesystem does not answer
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
        return "\n".join([*written, *self.seccomp_list(effective).splitlines()])

    def features(self, ctid: int) -> dict[str, str]:
        """See :class:`Runtime`; a pending or snapshotted value does not count."""
        return container_config.features(self.configuration(ctid).current().get("features", ""))

    def state(self, ctid: int) -> str | None:
        """See :class:`Runtime`.

        LXC's word counts if Proxmox has the container on this node: that starts no pct, a large
        program. If either is not so, pct is asked, which says what is wrong.
        """
        listed = ["find", _CONFIG.format(ctid), "-exec", *self._info(ctid, "-s"), ";"]
        seen = self.node.look(listed)
        if seen.ok and seen.text.strip() in _UP:
            return "running"
        never_started = b"doesn't exist" in seen.stdout + seen.stderr
        if seen.ok and (seen.text.strip() == "STOPPED" or never_started):
            return "stopped"
        answer = self.node.look(["pct", "status", str(ctid)])
        if patterns.search(_PCT_ABSENT, answer.stderr.decode(errors="replace")):
            if name := self._elsewhere(ctid):  # None would have it created a second time
                raise Elsewhere(self._absent(ctid), name)
            return None
        self._examine(ctid, answer)
        match = patterns.match(r"status: (\S+)", answer.require().text)
        if match is None:
            raise FactError(f"pct status {ctid} said {answer.text!r}")
        return match[1]

    def require_control(self, ctid: int) -> None:
        """See :class:`Runtime`: the cluster has quorum, and HA does not manage the container.

        There pct only passes a request to the HA manager and returns. The manager acts later, and
        would keep a container stopped that apply wants to restart. Source: pve-container's API
        (vm_stop, vm_shutdown), ha-manager(1), and PVE::HA::Config for "ignored".
        """
        quorate, written = self.node.ask(IN_CONTROL)
        if not quorate:
            raise Busy(f"on {self.node.machine}, {NO_QUORUM}")
        section = patterns.search(_HA_SECTION.format(ctid), written)
        if section is None:
            return
        stated = patterns.search(r"(?m)^[ \t]+state[ \t]+(\S+)", section[1])
        state = stated[1] if stated else "started"
        if state != "ignored":
            raise Busy(
                f"container {ctid} on {self.node.machine} is managed by Proxmox's HA ({_HA}), "
                "which acts on a stop or start only later, and would leave the container stopped. "
                f"Take it from HA: ha-manager set ct:{ctid} --state ignored; afterwards: --state "
                f"{state}"
            )

    @override
    def start(self, ctid: int) -> None:
        self.require_control(ctid)
        self._pct("start", ctid)

    @override
    def shutdown(self, ctid: int) -> None:
        self.require_control(ctid)
        self._pct("shutdown", ctid, "--timeout", "60", "--forceStop", "1")
        # The last hook of the container's unit rewrites the container's file.
        unit = f"pve-container@{ctid}.service"
        self.node.look(["sh", "-c", _ENDED, "ended", unit], timeout=90).require(
            f"{unit} is still active after the stop: journalctl -u {unit} says why"
        )

    @override
    def destroy(self, ctid: int) -> None:
        self._pct("destroy", ctid)
