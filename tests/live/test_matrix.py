"""A guest of another Debian release, by the plan ``plain``; ``python -m proof.matrix`` has all."""

import time

from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.recipe import DEFAULT_RELEASE
from proof import matrix


def test_docker_works_in_a_guest_of_another_release(machine: Lab) -> None:
    others = [name for name in matrix.RELEASES if name != DEFAULT_RELEASE]
    today = others[int(time.time()) // 86400 % len(others)]
    # Another template makes a new node, so the one that the node has is taken first.
    guest = next((name for name in machine.node.state.templates if name in others), today)
    row = dict(zip(matrix.HEAD, matrix.judge(f"{DEFAULT_RELEASE}/{guest}", "plain"), strict=True))
    assert row["verdict"].startswith("compliant"), row
    assert row["why"] == "", row
    words = row["doctor"].split(", ")
    assert all("(advice)" in word or word == "no problem" for word in words), row
