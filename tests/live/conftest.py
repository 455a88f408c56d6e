"""A lab in a known state, seconds away, for each fault.

Two labs share the tests out between them::

    docker-lxc-gate lab copy /tmp/second
    LAB_HOMES=~/.cache/docker-lxc-gate:/tmp/second \\
        pytest -n 2 --dist worksteal --max-worker-restart 0 tests/live/
"""

import os
from collections.abc import Iterator

import pytest

from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.ssh.connection import Ssh
from proof.faults import states
from tests.live.interrupted.interruption import connected

#: Names the labs' folders, one for each of xdist's workers.
HOMES = "LAB_HOMES"

pytest.register_assert_rewrite("tests.live.interrupted.sweep")  # its assertions word what is wrong


def pytest_configure(config: pytest.Config) -> None:
    """Give each of xdist's workers a lab of its own; refuse to let two share one."""
    homes = list(dict.fromkeys(filter(None, os.environ.get(HOMES, "").split(os.pathsep))))
    workers = len(config.getoption("tx", []))
    if workers > len(homes):
        raise pytest.UsageError(
            f"-n {workers} needs {workers} labs, and {HOMES} names {len(homes)}: "
            f"{HOMES}=FOLDER{os.pathsep}FOLDER (docker_lxc_gate lab copy makes the second)"
        )
    if number := _worker(config):
        os.environ["LAB_HOME"] = homes[number - 1]


def _worker(config: pytest.Config) -> int:
    """Return the number of a worker, from 1; 0 for a process that is none."""
    name: str = getattr(config, "workerinput", {}).get("workerid", "")
    return int(name.removeprefix("gw")) + 1 if name else 0


@pytest.fixture(scope="session")
def part(pytestconfig: pytest.Config) -> str | None:
    """Which of several labs runs these tests, as in ``1/2``; None if there is one."""
    number = _worker(pytestconfig)
    return f"{number}/{os.environ['PYTEST_XDIST_WORKER_COUNT']}" if number else None


@pytest.fixture(scope="session")
def machine() -> Lab:
    """The lab, running."""
    return Lab.open().up()


@pytest.fixture(scope="session")
def lab(machine: Lab, request: pytest.FixtureRequest) -> Lab:
    """The lab, with an ``applied``, a ``compliant`` and a ``healthy`` snapshot of the plan."""
    params = [getattr(item, "callspec", None) for item in request.session.items]
    faults = [each.params["fault"] for each in params if each and "fault" in each.params]
    states.prepare(machine, faults=faults)
    return machine


@pytest.fixture
def node(lab: Lab) -> Iterator[Ssh]:
    """The node of the lab as it stands when first used: ask after the restore."""
    with connected(lab) as ssh:
        yield ssh
