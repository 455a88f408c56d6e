"""What becomes of phoenix's scripts: the smallest change, and none where there is no place."""

from collections.abc import Callable
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from remediation import phoenix
from remediation.phoenix.scripts import block, install_script, setup_script
from tests.doubles.samples import DATA

CHECKOUT = Path(__file__).parents[4] / "docker_lxc_gate/lab/guest/phoenix_hypervisor"


@pytest.mark.parametrize(
    ("script", "how", "after"),
    [
        (phoenix.SETUP_SCRIPT, setup_script, "setup_apparmor.after.sh"),
        (phoenix.INSTALL_SCRIPT, install_script, "install_docker.after.sh"),
    ],
)
def test_scripts_get_the_smallest_change(script: str, how: object, after: str) -> None:
    before = (CHECKOUT / script).read_bytes()
    edited = how(before)  # type: ignore[operator]
    assert edited == (DATA / after).read_bytes()
    assert how(edited) == edited  # type: ignore[operator]
    removed = [line for line in before.splitlines() if line not in edited.splitlines()]
    assert removed == []


@pytest.mark.parametrize(
    ("script", "how"),
    [(phoenix.SETUP_SCRIPT, setup_script), (phoenix.INSTALL_SCRIPT, install_script)],
)
def test_byte_of_another_encoding_stays(script: str, how: Callable[[bytes], bytes]) -> None:
    before = (CHECKOUT / script).read_bytes()
    edited = how(before + b"# by Jos\xe9\r\n")
    assert edited == how(before) + b"# by Jos\xe9\r\n"
    assert how(edited) == edited


def test_install_script_with_the_block_of_an_earlier_version_gets_todays_instead() -> None:
    before = (CHECKOUT / phoenix.INSTALL_SCRIPT).read_bytes()
    today = install_script(before)
    ours = block("install_docker_block.sh").encode()
    earlier = today.replace(ours, ours.replace(b"answer", b"inside"))
    assert earlier != today
    assert install_script(earlier) == today


@pytest.mark.parametrize("text", [None, b"#!/bin/bash\necho nothing of this kind\n"])
def test_script_without_a_place_is_not_touched(text: bytes | None) -> None:
    with pytest.raises(FactError):
        install_script(text)
    with pytest.raises(FactError):
        setup_script(text)
