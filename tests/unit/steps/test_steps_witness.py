"""The second witness: testinfra, over our transports."""

import platform
from pathlib import Path

from docker_lxc_gate.machines.transport import Local
from steps import witness
from tests.doubles.foreign import Foreign


def test_host_of_this_machine_answers_as_testinfra_does(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    found = witness.host(Local())
    assert found.system_info.arch == platform.machine()
    assert found.package("dpkg").is_installed
    assert not found.package("none").is_installed
    assert found.file(str(path)).content_string == "{}"
    assert found.exists("sh")
    assert found.service("none").is_running is False


def test_answer_of_a_guest_is_decoded_by_no_codec_of_the_guests() -> None:
    """testinfra would ask the guest's python3 for the codec."""
    machine = Foreign([(0, b"rot13\xff", b"")])
    assert witness.host(machine).run("x").stdout == "rot13\ufffd"
