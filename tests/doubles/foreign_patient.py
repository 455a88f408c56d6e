"""What a container and its node tell the doctor, as somebody else may have written it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from commandline.json_output import json_line
from doctor import guest_reads, node_reads
from doctor.examine import examine
from doctor.troubles import gpu, id_maps, network, own_confinement, runc_fix, running
from targets.errors import RemediationError
from targets.runtime.lxc import Lxc
from targets.runtime.pct import Pct
from tests.doubles import patient
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
    guest_reads.CONTAINERS: patient.container(Error="reopen fd 8: permission denied"),
    node_reads.owner("/mnt/data"): "1000 1000 755\n",
    _OWNED: "65534 65534\nno\n",
}
_READS = {
    **{read: raw for read, raw in {**patient.NODE, **patient.GUEST}.items() if raw},
    **_SAID,
}

PARSERS: dict[str, tuple[Callable[[Base], object], bytes]] = {
    **{
        f"doctor.{number}": (_diagnosed(read), str(raw).encode())
        for number, (read, raw) in enumerate(_READS.items())
    },
    "doctor.configuration": (_configured, _DATA.encode()),
    "doctor.examine": (_examined, CONFIG.encode()),
}
