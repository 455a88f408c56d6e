"""``prove``: all of it in a throw-away container, and what a difference or a failure becomes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from docker_lxc_gate.cli import judged, prove
from docker_lxc_gate.cli.group import main
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.machines.target_file import find, several, written
from docker_lxc_gate.verdict import bundle, record
from docker_lxc_gate.verdict.waivers import Waiver
from remediation import provision
from tests.doubles.answering import Answering
from tests.unit.verdict.test_bundle import unpacked
from tests.unit.verdict.test_comparison import GREEN, run

AIM = Target("pve1", 950, reserved=(951, 952), template="local:vztmpl/d.tar.zst", identity="id")
STATE = {"file /etc/hosts": "f 644 0 0 | 1 2", "package pve-manager": "9.1"}
MORE = STATE | {"package x": "1"}


class Node:
    """What the parts of ``prove`` do on a node, noted in their order."""

    node = Answering(lambda argv: pytest.fail(f"{argv}"), "pve1")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.did: list[str] = []
        self.states = [STATE, STATE]
        self.there: set[int] = set()
        self.code, self.record = 0, True
        monkeypatch.setattr(prove, "opened", lambda _: nullcontext(self))
        monkeypatch.setattr(prove.machine_state, "record", lambda _: self.states.pop(0))
        monkeypatch.setattr(prove, "apply", lambda _: self.did.append("applied"))
        monkeypatch.setattr(judged, "_run", self.ran)
        monkeypatch.setattr(provision, "planned", lambda *_: None)
        monkeypatch.setattr(provision, "thrown_away", self.thrown_away)

    def state(self, ctid: int) -> str | None:
        return "running" if ctid in self.there else None

    @contextmanager
    def thrown_away(self, _: object, aim: Target, *__: object, **___: object) -> Iterator[int]:
        self.did.append(f"made {aim.reserved[0]}")
        yield aim.reserved[0]
        self.did.append(f"destroyed {aim.reserved[0]}")

    def ran(self, *words: str, at: prove.Path) -> int:
        options = dict(pairwise(words))
        own = find(options["--target"], at / options["--target-file"])
        self.did.append(f"gate on {own.ctid}, {own.reserved}")
        waivers = several(at / options["--waivers"], "waiver", Waiver)
        waived = " ".join(each.scenario for each in waivers)
        assert waived == "container-backup node-backup neighbours"
        if self.record:
            reports = at / "reports"
            reports.mkdir()
            whole = run({"a": GREEN}, verdict="compliant")
            whole.targets[0].versions = {"Kernel": "6.14", "LXC": "6.0", "Docker": "26|1\n2"}
            (reports / bundle.RECORD).write_text(record.encoded(whole))
        return self.code


@pytest.fixture(name="node")
def _node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Node:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "id").write_text("a key")
    (tmp_path / "hosts.toml").write_text(written("pve1", AIM))
    return Node(monkeypatch)


def told(*words: str) -> tuple[int, str]:
    argv = ["prove", "--target-file", "hosts.toml", "--target", "pve1", *words]
    done = CliRunner().invoke(main, argv)
    return done.exit_code, done.output


def test_all_of_it_is_done_in_reserved_containers_and_kept_in_a_bundle(node: Node) -> None:
    code, said = told("--yes", "--output", "b.tar.zst")
    assert code == 0, said
    assert node.did == ["made 951", "applied", "gate on 951, (952,)", "destroyed 951"]
    proof = json.loads(unpacked(prove.Path("b.tar.zst"))["proof.json"])
    assert proof == {"node_differs": []}
    row = next(line for line in said.splitlines() if line.startswith("| "))
    assert "6.14 | 6.0 |" in row
    assert "| 26\\|1\\\\n2 | compliant;" in row
    assert "| compliant; asked: 1 of 1 scenario | as before |" in row
    assert bundle.verified(prove.Path("b.tar.zst"), None).problems == []


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        ({"states": [STATE, STATE | {"file /etc/hosts": "f 600 0 0 | 1 2"}]}, 5, "/etc/hosts"),
        ({"code": 3}, 3, "| as before |"),
        ({"code": -9, "record": False}, 3, "left no record"),
        # A difference is told even if no bundle can be made.
        ({"code": 3, "record": False, "states": [STATE, MORE]}, 5, "package x: absent -> 1"),
    ],
)
def test_what_is_not_as_it_should_be_ends_it_with_its_own_code(
    node: Node, what: dict[str, Any], code: int, says: str
) -> None:
    vars(node).update(what)
    ended, said = told("--yes")
    assert ended == code, said
    assert says in said


def test_existing_container_is_refused_and_nobody_is_asked_without_a_terminal(node: Node) -> None:
    assert told("--yes", "--output", "id")[0] == 2
    code, said = told()
    assert (code, node.did) == (2, [])
    assert "pct create 951 local:vztmpl/d.tar.zst" in said
    assert "makes and destroys container 952" in said
    node.there = {952}
    code, said = told("--yes")
    assert (code, node.did) == (3, [])
    assert "container 952 exists" in said


def test_after_a_failure_nothing_is_compared(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Answering(lambda _: (1, b"", b"no space"), "pve1")
    monkeypatch.setattr(prove, "apply", lambda _: failing.run(["apt-get"]).require())
    code, said = told("--yes")
    assert code != 0
    assert "no space" in said
    assert node.did == ["made 951"]


def test_a_child_ends_what_it_began_before_its_parent_ends(tmp_path: Path) -> None:
    """As below a shell's ``&``: SIGINT is ignored, and SIGTERM ends both."""
    child = tmp_path / "child.py"
    child.write_text(
        "import signal, sys, time\n"
        "def end(*_):\n    time.sleep(0.5); open('cleaned', 'w').close(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end); open('began', 'w').close(); time.sleep(60)\n"
    )
    run = (
        "import sys; from pathlib import Path; from docker_lxc_gate.cli import judged; "
        "from docker_lxc_gate.machines.process import ended_as_by_ctrl_c\n"
        f"sys.path.append({str(tmp_path)!r})\n"
        "with ended_as_by_ctrl_c():\n"
        f"    judged._run('child', at=Path({str(tmp_path)!r}))"
    )
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", run]
    parent = subprocess.Popen(ignoring, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (tmp_path / "began").exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(parent.pid, 15)
    assert parent.wait(60) != 0
    assert (tmp_path / "cleaned").exists()
