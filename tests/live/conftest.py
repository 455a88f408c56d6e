"""A lab in a known state, seconds away, for each fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults import states
from lab.machine import Lab
from targets.ssh.connection import Ssh

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.register_assert_rewrite("tests.live.interrupted.sweep")  # its assertions word what is wrong


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
    ssh = Ssh(lab.address, name="the lab's node")
    yield ssh
    ssh.close()
