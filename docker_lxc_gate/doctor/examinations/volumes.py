"""Docker's named volumes that nobody owns: their files have ids that the container does not have.

The container itself looks: no path of the guest is followed from the node. An owner that shows as
65534 may be the container's own nobody; root in the container may do everything with that one's
files, and nothing with a stranger's. Sources: user_namespaces(7), capabilities(7), pct(1) on
``idmap`` (pve-container 6.1.6).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads, node_reads
from docker_lxc_gate.doctor.case import Examination
from docker_lxc_gate.doctor.diagnosis import PROBLEMS, here
from docker_lxc_gate.doctor.volume_reads import VOLUMES
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats.container_config import mount_points
from docker_lxc_gate.lint.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from docker_lxc_gate.doctor.case import Case
    from docker_lxc_gate.doctor.guest_reads import DockerMount
    from docker_lxc_gate.formats.container_config import ContainerConfig
    from docker_lxc_gate.formats.id_map import Range
    from docker_lxc_gate.lint.finding import Finding

#: Of more ranges a reader needs no more.
_MANY = 3
_ROOT = "/var/lib/docker"


@Examination(
    "whether a volume belongs to nobody",
    ("volume-of-nobody",),
    node=(node_reads.id_maps,),
    guest=(VOLUMES, guest_reads.CONTAINERS, guest_reads.INFO),
    of_docker=True,
)
def volumes(case: Case) -> Iterator[Finding]:
    """Yield each volume that nobody owns; a problem if a Docker container writes there."""
    volumes = case.guest.of(VOLUMES)
    strange = [each for each in volumes.found if not each.owned.usable]
    if strange:
        has = _ranges(case.node.of(node_reads.id_maps(case.ctid)).users)
        containers = case.guest.maybe(guest_reads.CONTAINERS, ())
        info = case.guest.maybe(guest_reads.INFO, None)
        fix = _fix(case, (info.docker_root_dir if info else "") or _ROOT)
        for each in strange:
            writer = guest_reads.writer(containers, partial(_is_volume, name=each.name))
            said = (
                f"the volume {each.name} shows as {each.owned.user}:{each.owned.group} in the "
                f"container: its owner on the node is none of {has}, which the container has"
            )
            if writer:
                said += f"; the Docker container {writer} is to write there, and cannot"
            yield here(
                "volume-of-nobody", said, fix=fix, severity=Severity.PROBLEM if writer else None
            )
    if volumes.more:
        raise FactError("Docker has too many volumes to look at all of them")


def _ranges(users: Sequence[Range]) -> str:
    """Return the node's ids that the container has."""
    said = [f"{each.outside} to {each.outside + each.count - 1}" for each in users[:_MANY]]
    more = f" and {len(users) - _MANY} more ranges" if len(users) > _MANY else ""
    return f"the ids {', '.join(said)}{more}"


def _is_volume(mount: DockerMount, name: str) -> bool:
    return mount.type == "volume" and mount.source.endswith(f"/{name}/_data")


def _fix(case: Case, root: str) -> str:
    fix, point = PROBLEMS["volume-of-nobody"].fix, _point(case.config, root)
    if not case.pct or not point:
        return f"{fix} Otherwise copy its files into a new volume, with ids that are mapped."
    return (
        f"{fix} Or keep the owner, and give {point}, on which Docker's data lies, idmap= "
        "(pve-container 6.1.6 or later)."
    )


def _point(config: ContainerConfig, root: str) -> str:
    """Return the mount point of the configuration that a path lies on; empty for the root."""
    points = mount_points(config)
    over = [place for place in points if f"{root}/".startswith(f"{place}/")]
    return points[max(over, key=len)][0] if over else ""
