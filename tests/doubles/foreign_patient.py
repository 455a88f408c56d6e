"""What a container and its node tell the doctor, as somebody else may have written it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from commandline.json_output import json_line
from doctor import guest_reads, node_reads, upgrade, upgrade_reads
from doctor.examine import examine
from doctor.troubles import gpu, id_maps, network, own_confinement, runc_fix, running
from doctor.volume_reads import VOLUMES
from targets.errors import RemediationError
from targets.runtime.lxc import Lxc
from targets.runtime.pct import Pct
from tests.doubles import patient, upgrading
from tests.doubles.patient import CONFIG, CTID

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets.read import Read
    from targets.transport import Base

_DATA = f"{CONFIG}mp0: /mnt/data,mp=/data\n"
_OWNED = guest_reads.owned(("/data",))


def _diagnosed(read: Read[Any]) -> Callable[[Base], object]:
    """Diagnose a container that is healthy but for one answer, which is foreign."""

    def ask(on: Base) -> None:
        result = on.run(read.argv)
        raw = (
            result.exit_code,
            result.stdout.decode("utf-8", "surrogateescape"),
            result.stderr.decode("utf-8", "surrogateescape"),
        )
        strange: dict[Read[Any], patient.Raw] = {
            node_reads.owner("/mnt/data"): "1000 1000 755\n",
            _OWNED: "65534 65534\nno\n",
            guest_reads.GUEST: (1, "degraded\n", ""),
            read: raw,
        }
        for config, pct in ((_DATA, True), ("lxc.apparmor.profile = generated\n", False)):
            found = patient.diagnosis(strange, config=config, pct=pct)
            json_line([each.cause for each in found.troubles])

    return ask


def _configured(on: Base) -> None:
    text = on.run(["bytes"]).stdout.decode("utf-8", "surrogateescape")
    for pct in (True, False):
        found = patient.diagnosis(config=text, pct=pct)
        json_line([each.cause.encode(errors="replace") for each in found.troubles])


def _examined(on: Base) -> None:
    for runtime in (Pct(on), Lxc(on)):
        with suppress(RemediationError):
            examine(runtime, CTID)


#: What each message may be.
_SAID = {
    runc_fix.MESSAGES: "open sysctl net: reopen fd 8: permission denied\n",
    id_maps.LCHOWN: "failed to Lchown for UID 1000, GID 44: invalid argument\n",
    own_confinement.MESSAGES: "the docker-default profile could not be loaded\n",
    network.MESSAGES: "can't initialize iptables table `nat': Table does not exist\n",
    gpu.MESSAGES: "bpf_prog_query(BPF_CGROUP_DEVICE) failed\n",
    running.SAYS: "failed to start daemon: x\n",
    guest_reads.DEVICES: "65534 65534 660 /dev/dri/renderD128\n",
    guest_reads.FAILED: "Id=x.service\nResult=exit-code\nExecMainStatus=226\n\nId=y\n",
    guest_reads.OWN_APPARMOR: "parser\nkernel\n",
    VOLUMES: "volumes 3\n65534 65534 no ./data/_data\n",
    guest_reads.CONTAINERS: patient.container(Error="reopen fd 8: permission denied"),
    node_reads.owner("/mnt/data"): "1000 1000 755\n",
    _OWNED: "65534 65534\nno\n",
}
_READS = {
    **{read: raw for read, raw in {**patient.NODE, **patient.GUEST}.items() if raw},
    **_SAID,
}


def _upgraded(read: Read[Any], *, on_node: bool) -> Callable[[Base], object]:
    """Diagnose an upgrade in which one answer is foreign."""
    had = upgrading.installed("docker.io 26.1.5", "runc 1.1.15", "apparmor 3.0.8")

    def ask(on: Base) -> None:
        result = on.run(read.argv)
        raw = (
            result.exit_code,
            result.stdout.decode("utf-8", "surrogateescape"),
            result.stderr.decode("utf-8", "surrogateescape"),
        )
        guest: dict[Read[Any], patient.Raw] = {
            upgrade_reads.INSTALLED: had,
            upgrade_reads.PLAN: upgrading.plan("docker.io 29.5.0", "runc 1.3.3", "-apparmor 3.0.8"),
        }
        node: dict[Read[Any], patient.Raw] = {}
        (node if on_node else guest)[read] = raw
        for pct in (True, False):
            found = upgrading.upgraded(node, guest, pct=pct)
            json_line([each.cause for each in found.troubles])

    return ask


def _asked_before_an_upgrade(on: Base) -> None:
    for runtime in (Pct(on), Lxc(on)):
        with suppress(RemediationError):
            upgrade.examine(runtime, CTID)


_UPGRADES = {
    **{(read, True): raw for read, raw in upgrading.ON_NODE.items()},
    **{(read, False): raw for read, raw in upgrading.IN_CONTAINER.items()},
    (upgrade_reads.PLAN, True): upgrading.plan("lxc 1:6.0.4-4 1:6.0.6-1", "-apparmor 4.1"),
    (upgrade_reads.INSTALLED, False): "docker.io ii  26.1.5\nrunc hi  1.3.3\n",
}

PARSERS: dict[str, tuple[Callable[[Base], object], bytes]] = {
    **{
        f"doctor.{number}": (_diagnosed(read), str(raw).encode())
        for number, (read, raw) in enumerate(_READS.items())
    },
    **{
        f"upgrade.{number}": (_upgraded(read, on_node=on_node), str(raw).encode())
        for number, ((read, on_node), raw) in enumerate(_UPGRADES.items())
        if raw
    },
    "upgrade.examine": (_asked_before_an_upgrade, CONFIG.encode()),
    "doctor.configuration": (_configured, _DATA.encode()),
    "doctor.examine": (_examined, CONFIG.encode()),
}
