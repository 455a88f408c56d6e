"""The container of a denial: by the notes, by the processes that live, by a profile's only user."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from facts import apparmor
from facts.audit import audit_records
from facts.denial.denials import attribute, running_under
from facts.process_tree import ProcessNotes
from targets.transport import CommandResult, Local, Transport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "lxc-phoenix-v2"
MOUNT = f'apparmor="DENIED" operation="mount" profile="{NAME}" name="/x" pid=1985 comm="dockerd"'
GENERATED = MOUNT.replace(f'profile="{NAME}"', 'profile="lxc-200_</var/lib/lxc>"')
NAMESPACED = MOUNT.replace(
    f'profile="{NAME}"', 'namespace="root//lxc-201_<-var-lib-lxc>" profile="docker-default"'
)
#: In its own namespace a container names a profile as LXC names another one's.
DISGUISED = NAMESPACED.replace("docker-default", "lxc-200_</var/lib/lxc>")


class Node(Transport):
    """Knows the cgroups of the processes that live, and counts how often it is asked."""

    machine = "pve1"

    def __init__(self, living: Mapping[int, str] | None = None) -> None:
        self.living, self.trips = living or {}, 0

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        assert argv[0] == "sh"
        self.trips += 1
        asked = map(int, stdin.split())
        out = "".join(f"/proc/{p}/cgroup:{self.living[p]}\n" for p in asked if p in self.living)
        return CommandResult(tuple(argv), 0, out.encode(), b"", self.machine, 0.0, 0.0)


def notes(*users: str, containers: Mapping[int, frozenset[str]] | None = None) -> ProcessNotes:
    """Return that these containers ran under the profile."""
    return ProcessNotes("", containers or {}, {name: frozenset({NAME}) for name in users})


def owner(line: str, known: ProcessNotes, node: Node | None = None) -> int | str | None:
    (found,) = attribute(node or Node(), audit_records.parse(line), known, 950, NAME)
    return found


@pytest.mark.parametrize(
    ("line", "whose"),
    [
        (GENERATED, 200),
        (NAMESPACED, 201),
        (DISGUISED, 201),
        (GENERATED.replace("lxc-200_", "lxc-web_"), "web"),
        (GENERATED.replace("lxc-200_", "lxc-9\uff150_"), "9\uff150"),
    ],
    ids=["generated", "namespaced", "disguised", "a name", "another script's digit"],
)
def test_attribute_of_a_generated_profile_is_the_container_that_it_names(
    line: str, whose: int | str
) -> None:
    node = Node()
    assert owner(line, notes(), node) == whose
    assert node.trips == 0


def test_attribute_of_a_process_that_was_noted_is_its_container_whoever_is_gone() -> None:
    known = notes("950", "952", containers={1985: frozenset({"952"})})
    assert owner(MOUNT, known) == 952
    assert owner(MOUNT, notes("950", containers={1985: frozenset({"web"})})) == "web"


def test_attribute_of_a_number_that_two_containers_had_is_nobody() -> None:
    for had in ({"950", "952"}, {"950", "?"}):  # ?: the node's process, or not known
        assert owner(MOUNT, notes("950", containers={1985: frozenset(had)})) is None


@pytest.mark.parametrize(
    "cgroup", ["0::/system.slice/auditd.service", "0::/lxc.monitor.951", "0::/lxc/951/init.scope"]
)
def test_attribute_of_a_living_process_that_was_not_noted_is_nobody(cgroup: str) -> None:
    """It is the node's, or had its pid from the process that was denied."""
    for users in (("950", "951"), ("950",)):
        assert owner(MOUNT, notes(*users), Node({1985: cgroup})) is None


@pytest.mark.parametrize(
    ("users", "whose"), [(("950",), 950), (("950", "952"), None), (("952",), None), ((), None)]
)
def test_attribute_of_a_dead_process_is_by_the_only_user_of_its_profile(
    users: tuple[str, ...], whose: int | None
) -> None:
    """The container that is asked about is one in any case: it may have ended."""
    assert owner(MOUNT, notes(*users)) == whose
    assert owner(MOUNT.replace("pid=1985 ", ""), notes(*users)) == whose


@pytest.mark.parametrize(
    "known",
    [
        notes("950", "951", containers={1985: frozenset({"951"})}),
        ProcessNotes("", profiles={"951": frozenset({NAME})}),
    ],
    ids=["noted", "only user"],
)
def test_attribute_by_notes_that_are_not_whole_is_nobody(known: ProcessNotes) -> None:
    """951's, if the notes are whole; else its pid may have passed from 950 to 951, or back."""

    def whose(known: ProcessNotes, line: str = MOUNT) -> int | str | None:
        return attribute(Node(), audit_records.parse(line), known, 950, "another")[0]

    assert whose(known) == 951
    assert whose(replace(known, lost="too many")) is None
    assert whose(replace(known, lost="too many"), GENERATED) == 200


def test_attribute_of_another_profile_is_its_only_users() -> None:
    known = ProcessNotes("", profiles={"951": frozenset({"lxc-x"}), "950": frozenset({NAME})})
    assert owner(MOUNT.replace(NAME, "lxc-x"), known) == 951


def test_attribute_of_ten_thousand_asks_the_node_once_and_takes_no_time() -> None:
    line = MOUNT.replace("pid=1985", "pid={0}")
    denials = audit_records.parse("\n".join(line.format(10_000 + n) for n in range(10_000)))
    node = Node({10_000 + n: "0::/system.slice/x.service" for n in range(0, 10_000, 2)})
    known = notes("952", containers={10_001 + n: frozenset({"952"}) for n in range(5000)})
    begun = time.process_time()
    owners = attribute(node, denials, known, 952, NAME)
    assert time.process_time() - begun < 5
    assert node.trips == 1
    assert owners.count(952) == 7500
    assert owners.count(None) == 2500


def test_attribute_of_noted_processes_needs_no_command() -> None:
    node = Node()
    known = notes("952", containers={1985: frozenset({"952"})})
    assert attribute(node, audit_records.parse(f"{MOUNT}\n" * 3), known, 950, NAME) == [952] * 3
    assert node.trips == 0


def test_cgroups_script_of_ten_thousand_returns_those_that_live() -> None:
    class Asked(Local):
        said = b""

        def run(self, argv: Sequence[str], **more: Any) -> CommandResult:
            assert not self.said
            result = super().run(argv, **more)
            self.said = result.stdout
            return result

    with subprocess.Popen(["sleep", "0"]) as gone:
        gone.wait()
    node, pids = Asked(), (gone.pid, os.getpid(), *range(4_000_000, 4_010_000))
    log = "\n".join(MOUNT.replace("pid=1985", f"pid={pid}") for pid in pids)
    attribute(node, audit_records.parse(log), notes("950", "952"), 950, NAME)
    assert node.said.startswith(b"/proc/%d/cgroup:" % os.getpid())
    assert b"/proc/%d/" % gone.pid not in node.said


def test_running_under_a_profile_is_its_processes_containers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apparmor, "processes_under", lambda *_: [7, 8, 9, 10])
    living = {7: "0::/lxc/950/ns/init.scope", 8: "0::/lxc/web", 9: "0::/system.slice/x.service"}
    assert running_under(Node(living), NAME) == {"950", "web"}
    monkeypatch.setattr(apparmor, "processes_under", lambda *_: [])
    assert running_under(Node(living), NAME) == frozenset()
