"""The second witness: testinfra, over our transports."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Local
from steps import witness
from tests.doubles.foreign import Foreign
from tests.doubles.naming import naming


class Counted(Local):
    """This machine, with what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.timeouts: list[float] = []

    def run(self, argv: Sequence[str], **more: Any) -> CommandResult:
        self.asked.append(argv[-1])
        self.timeouts.append(more["timeout"])
        return super().run(argv, **more)


def test_lines_are_all_that_testinfra_asks(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    machine = Counted()
    found = witness.host(machine)
    assert found.system_info.arch == platform.machine()
    assert found.package("dpkg").is_installed
    assert found.package("dpkg").version
    assert not found.package("none").is_installed
    assert found.file(str(path)).exists
    assert found.file(str(path)).content_string == "{}"
    assert found.file(str(path)).sha256sum
    assert found.exists("sh")
    assert found.service("none").is_running is False
    foreseen = witness.lines(
        *witness.of_package("dpkg"),
        *witness.of_package("none", version=False),
        *witness.of_file(str(path)),
        *witness.of_hash(str(path)),
        *witness.of_program("sh"),
        "test -d /run/systemd/system/",
    )
    asked = {read.argv[-1] for read in foreseen}
    assert asked - set(machine.asked) == set(), "foreseen, and never asked"
    assert {read.timeout for read in foreseen} == set(machine.timeouts)


def test_answer_of_a_guest_is_decoded_by_no_codec_of_the_guests() -> None:
    """testinfra would ask the guest's python3 for the codec."""
    machine = Foreign([(0, b"rot13\xff", b"")])
    assert witness.host(machine).run("x").stdout == "rot13\ufffd"


@pytest.mark.parametrize("said", [b"", b"Plan9\n", b"\xff"])
def test_guest_of_a_system_that_testinfra_does_not_know_is_undetermined(said: bytes) -> None:
    host = witness.host(Foreign([(0, said, b""), (1, b"", b"")]))
    with naming(FactError, "a machine", "service"):
        _ = host.service
    with pytest.raises(AttributeError):
        _ = host.no_module
