"""``docker-lxc-gate doctor``: exit codes, both formats, and a hostile guest."""

import importlib
import json
import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner, Result

from docker_lxc_gate.cli.group import main
from docker_lxc_gate.doctor import guest_reads, messages, node_reads, upgrade_reads
from docker_lxc_gate.doctor.case import Diagnosis
from docker_lxc_gate.doctor.upgrade_pairs import AS_OF
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.fleet import Listing
from tests.doubles.patient import CTID, INFO, MAP, diagnosis
from tests.doubles.samples import ROOT
from tests.doubles.upgrading import OLDER, installed, plan, upgraded

command: Any = importlib.import_module("docker_lxc_gate.cli.doctor")
PAGE = ROOT / "docs/doctor.md"
MISSED = 'failed to Lchown "/x" for UID 1000, GID 1000: lchown /x: invalid argument'
HOLE = {
    node_reads.id_maps(CTID): f"0 100000 1000\n1001 101001 64535\n==\n{MAP}",
    messages.READ: MISSED,
}


def run(monkeypatch: pytest.MonkeyPatch, found: Diagnosis, *words: str) -> Result:
    opened = nullcontext(SimpleNamespace(node=SimpleNamespace(machine="pve1")))
    monkeypatch.setattr(command, "opened", lambda _: opened)
    other = "examine" if "--upgrade" in words else "upgrade.examine"
    asks = "upgrade.examine" if "--upgrade" in words else "examine"
    monkeypatch.setattr(f"docker_lxc_gate.cli.doctor.{other}", None)
    monkeypatch.setattr(
        f"docker_lxc_gate.cli.doctor.{asks}", lambda _, ctid: found if ctid == CTID else None
    )
    asked = ["doctor", "--target", f"root@pve1/{CTID}", *words]
    return CliRunner().invoke(main, asked, catch_exceptions=False)


def test_doctor_of_a_healthy_container_ends_with_0_and_the_pages_example_is_what_it_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = run(monkeypatch, diagnosis())
    assert done.exit_code == 0
    assert done.stdout.startswith(f"container {CTID} on pve1: no problem named\n")
    assert "problem:" not in done.stdout
    done = run(monkeypatch, diagnosis(HOLE))
    assert done.exit_code == 1
    assert f"```text\n{done.stdout}```" in PAGE.read_text("utf-8")


def test_doctor_that_could_not_see_says_each_reason_once(monkeypatch: pytest.MonkeyPatch) -> None:
    blind = dict.fromkeys((guest_reads.DEVICES, guest_reads.UNIT), (9, "", "broken"))
    done = run(monkeypatch, diagnosis(blind))  # type: ignore[arg-type]
    assert done.exit_code == 3
    assert done.stdout.count("(broken)") == 1
    assert "no problem named" in done.stdout


def test_doctor_as_json_has_every_member(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(
        monkeypatch, diagnosis({**HOLE, guest_reads.FAILED: (9, "", "x")}), "--format", "json"
    )
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["ctid"], told["node"]) == (CTID, "pve1")
    assert told["problems"][0]["id"] == "id-map-hole"
    assert set(told["problems"][0]) == {"id", "severity", "message", "why", "fix"}
    assert told["could_not_see"] == [
        {"what": "whether units of the guest are refused", "why": "x", "matters": True}
    ]


OCTOBER = {
    upgrade_reads.INSTALLED: OLDER,
    upgrade_reads.PLAN: plan(
        "containerd.io 1.7.28-1~debian.13~trixie 2.2.1-1~debian.13~trixie",
        "docker-ce 5:28.5.1-1~debian.13~trixie 5:29.4.1-1~debian.13~trixie",
    ),
}
PVE = {upgrade_reads.INSTALLED: installed("lxc-pve 6.0.5-1")}


def test_upgrade_without_a_known_breakage_ends_with_0_and_the_pages_example_is_what_it_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = run(monkeypatch, upgraded(PVE, OCTOBER), "--upgrade")  # type: ignore[arg-type]
    assert done.exit_code == 1
    assert f"```text\n{done.stdout}```" in PAGE.read_text("utf-8")
    had = {upgrade_reads.INSTALLED: installed("docker.io 26.1.5", "runc 1.1.15")}
    done = run(monkeypatch, upgraded({}, had), "--upgrade")  # type: ignore[arg-type]
    assert done.exit_code == 0
    assert done.stdout == f"container {CTID} on pve1: no breakage known\n"
    assert done.stderr == f"… the table of versions was read on {AS_OF}\n"


CAPS = "docker: Error response from daemon: unable to apply caps: operation not permitted: unknown."


def pasted(text: str | bytes, *words: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "-", *words], input=text, catch_exceptions=False)


def test_doctor_of_a_pasted_message_names_its_cause_and_asks_no_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "opened", None)
    done = pasted(CAPS)
    first = "problem: Docker gives a container a capability that the LXC container has dropped"
    assert done.exit_code == 1
    assert done.stdout.startswith(f"{first}: {CAPS} [capabilities-dropped]\n    why: LXC drops")
    assert "    fix: To make sure, on the node: pct config CTID | grep" in done.stdout
    told = json.loads(pasted(CAPS, "--json").stdout)
    assert [each["id"] for each in told["problems"]] == ["capabilities-dropped"]
    (tmp_path / "error.txt").write_bytes(CAPS.encode("utf-16"))
    read = CliRunner().invoke(main, ["doctor", str(tmp_path / "error.txt")])
    assert (read.exit_code, read.stdout) == (1, done.stdout)


def test_doctor_of_an_unknown_message_ends_with_3_and_says_what_to_run_next() -> None:
    done = pasted("nobody knows this\n")
    assert done.exit_code == 3
    assert done.stdout.startswith("standard input: no problem named\n")
    assert "--target root@pve1/950" in done.stdout
    assert "docker-lxc-gate denials -" in done.stdout


def test_doctor_of_a_text_of_more_than_1_mib_says_what_it_did_not_read() -> None:
    done = pasted(f"{CAPS}\n" + "x" * ((1 << 20) + 1))
    assert done.exit_code == 1
    assert "could not see" in done.stdout
    assert "what comes after the first 1 MiB" in done.stdout


@pytest.mark.parametrize("words", [["--target", "local/950"], ["--upgrade"]])
def test_doctor_of_a_message_and_a_target_ends_with_2(words: list[str]) -> None:
    assert pasted(CAPS, *words).exit_code == 2


def test_doctor_of_a_message_that_cannot_be_read_ends_with_3_and_names_the_file() -> None:
    done = CliRunner().invoke(main, ["doctor", "/no/such"], catch_exceptions=False)
    assert done.exit_code == 3
    assert "/no/such cannot be read: No such file or directory" in done.stderr


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A node with two containers that have Docker, and what is found in each, by id."""
    one = SimpleNamespace(node=SimpleNamespace(machine="pve1"), found={})
    monkeypatch.setattr(command, "opened", lambda _: nullcontext(one))
    listing = Listing("root@pve1/all", (CTID, CTID + 1), (7,))
    monkeypatch.setattr("docker_lxc_gate.machines.fleet.listed", lambda *_: listing)
    healthy = diagnosis()
    for asks, later in (("examine", {}), ("upgrade.examine", one.found)):
        monkeypatch.setattr(
            f"docker_lxc_gate.cli.doctor.{asks}", lambda _, ctid, by=later: by.get(ctid, healthy)
        )
    return one


def test_doctor_of_a_node_examines_each_container_with_docker_now_and_after_an_upgrade(
    node: SimpleNamespace,
) -> None:
    done = CliRunner().invoke(main, ["doctor", "root@pve1/all"], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"root@pve1/all: asked: {CTID}, {CTID + 1}; left out: 7\n")
    node.found |= {ctid: diagnosis(HOLE) for ctid in (CTID, CTID + 1)}
    alike = CliRunner().invoke(main, ["doctor", "root@pve1/all"], catch_exceptions=False)
    assert alike.exit_code == 1
    assert alike.stdout.count("[id-map-hole]") == 1
    assert f"containers {CTID}, {CTID + 1} on pve1:\n" in alike.stdout
    del node.found[CTID]
    words = ["doctor", "root@pve1/all", "--format", "json"]
    alone = json.loads(CliRunner().invoke(main, words, catch_exceptions=False).stdout)
    named = [{problem["id"] for problem in each["problems"]} for each in alone]
    assert named[1] - named[0] == {"id-map-hole"}


def test_doctor_of_the_node_in_readme_is_what_readme_shows(
    node: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_overlay = diagnosis({guest_reads.INFO: INFO.replace("fuse-overlayfs", "overlay2")})
    monkeypatch.setattr("docker_lxc_gate.cli.doctor.examine", lambda *_: with_overlay)
    node.found[CTID] = Diagnosis((), ())
    listing = Listing("local/all", (CTID,), ())
    monkeypatch.setattr("docker_lxc_gate.machines.fleet.listed", lambda *_: listing)
    readme = (ROOT / "README.md").read_text("utf-8")
    [[words, shown]] = re.findall(
        r"(?s)\ndocker-lxc-gate (doctor \S+/all) .*?\n```\n\n```\n(.*?)```", readme
    )
    done = CliRunner().invoke(main, words.split(), catch_exceptions=False)
    assert done.exit_code == 0
    assert re.fullmatch(re.escape(shown).replace("…", ".*"), done.stdout)


def test_doctor_of_a_container_that_cannot_be_examined_says_so(
    node: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Mock(side_effect=FactError("there is no container"))
    monkeypatch.setattr("docker_lxc_gate.cli.doctor.upgrade.examine", gone)
    done = CliRunner().invoke(main, ["doctor", "root@pve1/all"], catch_exceptions=False)
    assert done.exit_code == 3
    assert done.stdout.count("there is no container") == 2
