"""Doctor names no problem of a healthy lab, sees everything, and names what was made, first.

By default, one row of every fourth problem is made that needs no other Debian than the usual one,
one thing is broken, and one healthy target that differs is asked; with ``PROBLEMS=all`` every row,
all that breaks often, and twenty targets.
"""

import json
import os
from typing import Any

import pytest

from docker_lxc_gate.lab.machine import Lab
from proof.faults import snapshots
from proof.faults.fault import HEALTHY as FROM
from proof.faults.fault import shell
from tests.live.cases.doctor_rows import ROWS, Row, one_each
from tests.live.cases.healthy import Variation, in_turn
from tests.live.running import TARGET, compliant, remediation, restore

ALL = os.environ.get("PROBLEMS") == "all"
#: Each variation's runs together, as making one takes longer than restoring it.
HEALTHY = sorted(in_turn(20 if ALL else 1), key=lambda each: each.id)


def doctor(*words: str, target: str = TARGET) -> tuple[int, str]:
    done = remediation("doctor", "--target", target, *words)
    assert done.stdout, done.stderr
    return done.returncode, done.stdout


def said() -> tuple[int, Any]:
    code, told = doctor("--format", "json")
    return code, json.loads(told)


def test_healthy_lab_has_no_problem_and_says_what_confines_dockers_containers(lab: Lab) -> None:
    restore(lab, snapshots.WITHOUT_BACKUPS)
    code, told = said()
    assert [each for each in told["problems"] if each["severity"] != "advice"] == []
    assert told["could_not_see"] == []
    assert code == 0
    (words,) = [each["message"] for each in told["problems"] if each["id"] == "docker-confinement"]
    assert words.startswith("Docker's containers have no AppArmor profile of their own (")
    assert "apparmor_parser is not in the container" in words
    assert words.endswith("; the container's own profile confines them: lxc-phoenix-v2 (enforce)")


#: What is broken, from the node, and the one problem that is named; more of them are in `ROWS`.
BROKEN = {
    "docker-down": "inside systemctl stop docker.socket docker.service",
    "json-syntax": "echo '{,' | into $settings; ! inside systemctl restart docker",
    "next-start-fails": "sed -i 's/^\\(lxc.apparmor.profile: \\).*/\\1lxc-gone/' $conf",
    "next-start-loses": "printf '[pve:pending]\\nfeatures: fuse=1\\n' >>$conf",
    "container-mount-entry-cut": "echo 'lxc.mount.entry: /dev/fuse' >>$conf",
}


@pytest.mark.parametrize("problem", BROKEN if ALL else [*BROKEN][:1])
def test_problem_that_was_made_is_the_only_one(lab: Lab, problem: str) -> None:
    with compliant(lab) as runtime:
        shell(runtime.node, BROKEN[problem]).require()
    code, told = said()
    named = [each["id"] for each in told["problems"] if each["severity"] != "advice"]
    assert (named, code) == ([problem], 1)


@pytest.fixture(scope="module")
def usual(lab: Lab) -> frozenset[str]:
    """The advice that a healthy lab gets, by line."""
    restore(lab, snapshots.WITHOUT_BACKUPS)
    return advice(doctor()[1])


def advice(told: str) -> frozenset[str]:
    """Return the lines of advice; what was refused lately differs from run to run."""
    lines = {line for line in told.splitlines() if line.startswith("advice: ")}
    return frozenset(line for line in lines if not line.endswith("[denied-lately]"))


@pytest.mark.parametrize(
    "row", ROWS if ALL else one_each()[::4], ids=lambda row: f"{row.number}-{row.id}"
)
def test_problem_that_was_made_is_named_in_the_first_line_and_alone(
    lab: Lab, usual: frozenset[str], row: Row
) -> None:
    with snapshots.restored(lab, row.start, release=row.release) as node:
        shell(node, row.inject).require()
    code, told = doctor()
    lines = told.splitlines()
    problems = [line for line in lines if line.startswith("problem: ")]
    new = [line for line in lines if line in advice(told) - usual]
    others = [line for line in new if named(line) not in row.beside]
    shown = "\n".join(("new advice:", *(new or ("none",)), "", "all of it:", told))
    if row.advice:
        assert (lines[0].endswith(": no problem named"), problems, code) == (True, [], 0), shown
        assert len(others) == 1, shown
        assert new[0] == others[0], shown
    else:
        assert (problems, code) == (lines[:1], 1), shown
        assert others == [], shown
    first = (others if row.advice else problems)[0]
    assert named(first) == row.id, shown
    assert [word for word in row.words if word not in first] == [], shown


def named(line: str) -> str:
    """Return the id that a line of the report ends with."""
    return line.rpartition("[")[2].removesuffix("]")


@pytest.mark.parametrize(
    "variation", HEALTHY, ids=[f"{n}-{each.id}" for n, each in enumerate(HEALTHY, 1)]
)
def test_healthy_target_that_differs_has_no_problem(lab: Lab, variation: Variation) -> None:
    with snapshots.restored(lab, FROM, variation.ctid) as node:
        shell(node, variation.make, variation.ctid).require()
    code, told = doctor(target=f"lab/{variation.ctid}")
    assert [line for line in told.splitlines() if line.startswith("problem: ")] == []
    assert code == 0, told
