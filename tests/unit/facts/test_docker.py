"""Docker's holdings and processes are facts; what cannot be listed or read is none."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import docker
from docker_lxc_gate.machines.transport import Local, Recorded
from tests.doubles.canned import Machine
from tests.doubles.naming import naming

if TYPE_CHECKING:
    from docker_lxc_gate.machines.result import CommandResult

ASKED = "sh docker-witness"
ONE, TWO = "a" * 64, "b" * 64
UNITS = (
    "Id=docker.service\nMainPID=7\nActiveState=active\nExecMainStartTimestampMonotonic=100\n\n"
    "MainPID=6\nId=containerd.service\nActiveState=active\nExecMainStartTimestampMonotonic=90\n\n"
    "Id=docker.socket\nActiveState=active\n"
)
LISTED = {
    "unit": UNITS,
    "container": f"{ONE} web\n{TWO} db,web/db\n",
    "image": f"sha256:{ONE} hello:latest\nsha256:{ONE} hello:1\nsha256:{TWO} <none>:<none>\n",
    "volume": "data local\n",
    "network": f"{ONE} bridge\n{TWO} mine\n",
    "state": "/web running since 2026-11-26T21:00:00.5Z\n/db restarted by Docker\n",
    "settings": "/web 0123456789abcdef\n",
}


def test_record_of_a_docker_that_runs_names_what_it_holds() -> None:
    said = "".join(f"== {kind}\n{text}ended with 0\n\n" for kind, text in LISTED.items())
    assert docker.record(Machine({}, {ASKED: said}, "container 950")) == {
        "process dockerd": "ActiveState=active ExecMainStartTimestampMonotonic=100 MainPID=7",
        "process containerd": "ActiveState=active ExecMainStartTimestampMonotonic=90 MainPID=6",
        "process docker.socket": "ActiveState=active",
        "docker container web": ONE,
        "docker container db,web/db": TWO,
        f"docker image sha256:{ONE}": "hello:1, hello:latest",
        f"docker image sha256:{TWO}": "<none>:<none>",
        "docker volume data": "local",
        "docker settings web": "0123456789abcdef",
        "docker network bridge": ONE,
        "docker network mine": TWO,
        "process of docker container web": "running since 2026-11-26T21:00:00.5Z",
        "process of docker container db": "restarted by Docker",
    }


NOT_LISTED = [f"{ONE} \x1b[2J", "x web", f"{ONE} a b", ONE, "\N{FULLWIDTH DIGIT FIVE}" * 64 + " a"]
UNIT = "== unit\nended with 0\n\n"


@pytest.mark.parametrize(
    "said",
    [
        *(f"{UNIT}== container\n{line}\nended with 0\n" for line in NOT_LISTED),
        f"{UNIT}== container\nended with 1\n",
        f"{UNIT}== container\n{'x' * 100}",
        f"{UNIT}== other\nended with 0\n",
        f"{UNIT}== conta",
    ],
)
def test_record_of_what_docker_does_not_list_in_a_known_form_is_an_error(said: str) -> None:
    with naming(FactError, "container 950"):
        docker.record(Machine({}, {ASKED: said}, "container 950"))


@pytest.mark.parametrize(("runs", "parts"), [(True, list(LISTED)), (False, ["unit"])])
def test_record_script_asks_a_docker_that_runs_and_no_other(
    stub: Callable[[str, str], Path], *, runs: bool, parts: list[str]
) -> None:
    """The real script, with programs of ours; what says too much is cut."""
    stub("systemctl", f"[ $1 = show ] || exit {3 * (not runs)}; echo Id=docker.service")
    stub("docker", f'[ "$1" != volume ] || yes; echo {ONE} x')
    asked: list[CommandResult] = []
    node = Recorded(Local(), asked.append)
    with suppress(FactError):  # the volumes are cut
        docker.record(node)
    (said,) = [each.text for each in asked]
    assert [line[3:] for line in said.splitlines() if line.startswith("== ")] == parts
    assert said.count("ended with 0\n") == len(parts) - runs
    assert len(said) < 500_000
