"""The second witness: testinfra, over our transports."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from steps import witness
from targets.transport import Local

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from targets.transport import CommandResult


class Counted(Local):
    """This machine, with what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def run(self, argv: Sequence[str], **more: Any) -> CommandResult:
        self.asked.append(argv[-1])
        return super().run(argv, **more)


def test_host_first_question_takes_one_round_trip() -> None:
    machine = Counted()
    found = witness.host(machine)
    assert found.system_info.arch == platform.machine()
    assert machine.asked == ["at once"]
    assert found.file("/etc/os-release").exists
    assert len(machine.asked) == 2


def test_foresee_of_all_that_testinfra_asks_takes_one_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    machine = Counted()
    found = witness.host(machine)
    witness.foresee(found, *witness.of_package("dpkg"), *witness.of_package("none", version=False))
    witness.foresee(found, f"test -e {path}", f"cat -- {path}", *witness.of_program("sh"))
    witness.foresee(found, "test -d /run/systemd/system/")
    assert found.package("dpkg").is_installed
    assert found.package("dpkg").version
    assert not found.package("none").is_installed
    assert found.file(str(path)).exists
    assert found.file(str(path)).content_string == "{}"
    assert found.exists("sh")
    assert machine.asked == ["at once"]
    assert found.service("none").is_running is False
    assert "test -d /run/systemd/system/" not in machine.asked


def test_foresee_of_what_is_not_asked_next_is_asked_again() -> None:
    machine = Counted()
    found = witness.host(machine)
    witness.foresee(found, "echo 1", "date +%s%N")
    assert found.run("echo 1").stdout == "1\n"
    witness.foresee(found, "true")
    before = found.run("date +%s%N").stdout
    assert machine.asked == ["at once", "date +%s%N"]
    assert found.run("date +%s%N").stdout > before
