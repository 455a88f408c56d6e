"""The second witness: testinfra, over our transports."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from remediation.transport import Local
from steps import witness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from remediation.transport import CommandResult


class Counted(Local):
    """This machine, with what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def run(self, argv: Sequence[str], **more: Any) -> CommandResult:
        self.asked.append(argv[-1])
        return super().run(argv, **more)


def test_what_testinfra_asks_first_is_one_round_trip() -> None:
    machine = Counted()
    found = witness.host(machine)
    assert found.system_info.arch == platform.machine()
    assert machine.asked == ["at once"]
    assert found.file("/etc/os-release").exists
    assert len(machine.asked) == 2
