"""A lab in a known state, seconds away, for each fault.

Two labs share the tests out between them::

    docker-lxc-gate lab down
    cp -a ~/.cache/docker-lxc-gate /tmp/second
    LAB_HOMES=~/.cache/docker-lxc-gate:/tmp/second \\
        pytest -n 2 --dist worksteal --max-worker-restart 0 tests/live/
"""

from collections.abc import Iterator

import pytest

from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.ssh.connection import Ssh
from proof.faults import snapshots
from proof.faults.fault import HEALTHY
from tests.live.interrupted.interruption import connected

pytest.register_assert_rewrite("tests.live.interrupted.sweep")  # its assertions word what is wrong


def pytest_configure(config: pytest.Config) -> None:
    """Give each of xdist's workers a lab of its own."""
    snapshots.choose(config)


@pytest.fixture(scope="session")
def machine() -> Lab:
    """The lab, running."""
    return Lab.open().up()


@pytest.fixture(scope="session")
def lab(machine: Lab) -> Lab:
    """The lab, with an ``applied``, a ``compliant`` and a ``healthy`` snapshot of the plan."""
    snapshots.made(machine, HEALTHY)
    return machine


@pytest.fixture
def node(lab: Lab) -> Iterator[Ssh]:
    """The node of the lab as it stands when first used: ask after the restore."""
    with connected(lab) as ssh:
        yield ssh
