"""What becomes of phoenix's scripts: the smallest change, and none where there is no place."""

from collections.abc import Callable

import pytest

from docker_lxc_gate.errors import FactError
from remediation import phoenix
from remediation.phoenix.scripts import block, install_script, setup_script
from tests.doubles.samples import DATA, PHOENIX


@pytest.mark.parametrize(
    ("script", "how", "after"),
    [
        (phoenix.SETUP_SCRIPT, setup_script, "setup_apparmor.after.sh"),
        (phoenix.INSTALL_SCRIPT, install_script, "install_docker.after.sh"),
    ],
)
@pytest.mark.parametrize("theirs", [b"", b"# by Jos\xe9\r\n"], ids=["as it is", "another encoding"])
def test_scripts_get_the_smallest_change(
    script: str, how: Callable[[bytes], bytes], after: str, theirs: bytes
) -> None:
    before = (PHOENIX / script).read_bytes() + theirs
    edited = how(before)
    assert edited == (DATA / after).read_bytes() + theirs
    assert how(edited) == edited
    removed = [line for line in before.splitlines() if line not in edited.splitlines()]
    assert removed == []


def test_install_script_with_the_block_of_an_earlier_version_gets_todays_instead() -> None:
    before = (PHOENIX / phoenix.INSTALL_SCRIPT).read_bytes()
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
