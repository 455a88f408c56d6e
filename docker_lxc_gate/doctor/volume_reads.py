"""Docker's named volumes, as a read in the container: those that show as nobody's.

The container itself looks, so no path of the guest is followed from the node. The number of volumes
is bounded, and their names are what Docker takes for one. Source: moby, volume/local and
daemon/names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.doctor.guest_reads import Owned, of_docker
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.read import Read

if TYPE_CHECKING:
    from docker_lxc_gate.machines.result import CommandResult

#: So many volumes are looked at, and so many of nobody's are named.
_MOST, _NAMED = 500, 20
_OF_NOBODY = program("docker_lxc_gate.doctor", "volumes_of_nobody.sh")
_NUMBER = "[0-9]{1,10}"
_COUNT = patterns.compile("volumes ([0-9]{1,5})")
_VOLUME = patterns.compile(
    rf"({_NUMBER}) ({_NUMBER}) (yes|no) \./([A-Za-z0-9][A-Za-z0-9_.-]{{0,200}})/_data"
)


@dataclass(frozen=True)
class Volume:
    """A volume that shows as nobody's, and its owner in the container."""

    name: str
    owned: Owned


@dataclass(frozen=True)
class Volumes:
    """The volumes that show as nobody's, and whether there are more than were looked at."""

    found: tuple[Volume, ...]
    more: bool


def _volumes(result: CommandResult) -> Volumes:
    count, *lines = of_docker(result).text.splitlines()[: _NAMED + 1] or [""]
    number = _COUNT.fullmatch(count)
    if number is None:
        raise FactError(f"Docker's volumes cannot be read in {result.machine}")
    found = [_VOLUME.fullmatch(line) for line in lines]
    return Volumes(
        tuple(
            Volume(each[4], Owned(int(each[1]), int(each[2]), each[3] == "yes"))
            for each in found
            if each
        ),
        int(number[1]) > _MOST,
    )


#: Docker's volumes that show as nobody's.
VOLUMES = Read(("sh", "-c", _OF_NOBODY, "of nobody", str(_MOST + 1), str(_NAMED)), _volumes)
