"""Guards: no code of the product follows a guest's links, or counts by ²."""

import re
import subprocess

import pytest

from tests.doubles.samples import ROOT


@pytest.mark.parametrize(
    ("pattern", "where"),
    [
        # Python knows some six hundred digits: write [0-9], or ask isascii() on the same line.
        (r"^(?!.*isascii\(\)).*(\\d|\.is(digit|decimal|numeric)\(\))", set()),
        # The node would resolve an absolute link of the guest with its own root.
        # The attempt to enter a root opens the kernel's own link, and no name below it.
        (
            r"/proc/.*\b(root|cwd)\b",
            {
                "docker_lxc_gate/machines/runtime/guest_root.py",
                "docker_lxc_gate/facts/programs/escapes.pl",
            },
        ),
        # A list that is cut to a width shows half an id, or half a unit's name.
        (r"docker (ps|images|network ls)(?!.*--no-trunc)(?=.*( -\w*q|ID\b))", set()),
        (r"systemctl list-units(?!.*--full)", set()),
    ],
    ids=["digits", "links", "docker's width", "systemd's width"],
)
def test_guard_finds_no_line_of_the_product_like_this(pattern: str, where: set[str]) -> None:
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    product = [name for name in listed if not name.startswith(("tests/", "proof/faults/"))]
    found = {
        name
        for name in product
        if name.endswith((".py", ".sh", ".pl"))
        if re.search(pattern, (ROOT / name).read_text("utf-8"), re.MULTILINE)
    }
    assert found == where
