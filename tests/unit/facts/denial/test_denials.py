"""The container of a denial: by its profile's name, or by the notes."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from docker_lxc_gate.facts import apparmor
from docker_lxc_gate.facts.audit import audit_records
from docker_lxc_gate.facts.denial.denial_log import attribute, running_under
from docker_lxc_gate.facts.process_tree import ProcessNotes
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Local, Transport

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
    """Knows the cgroups of the processes that live."""

    machine = "pve1"

    def __init__(self, living: Mapping[int, str]) -> None:
        self.living = living

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        assert argv[0] == "sh"
        asked = map(int, stdin.split())
        out = "".join(f"/proc/{p}/cgroup:{self.living[p]}\n" for p in asked if p in self.living)
        return CommandResult(tuple(argv), 0, out.encode(), b"", self.machine, 0.0, 0.0)


def owner(line: str, known: ProcessNotes) -> int | str | None:
    (found,) = attribute(audit_records.parse(line), known)
    return found


def noted(*containers: str) -> ProcessNotes:
    """Return whole notes by which process 1985 was of these containers."""
    return ProcessNotes("", {1985: frozenset(containers)} if containers else {})


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
    assert owner(line, noted()) == whose


def test_attribute_of_a_process_that_was_noted_is_its_container() -> None:
    assert owner(MOUNT, noted("952")) == 952
    assert owner(MOUNT, noted("web")) == "web"


def test_attribute_of_a_number_that_two_containers_had_is_nobody() -> None:
    for had in (("950", "952"), ("950", "?")):  # ?: the node's process, or not known
        assert owner(MOUNT, noted(*had)) is None


def test_attribute_of_a_process_that_was_in_no_container_is_nobody() -> None:
    """A user of the node can start it: aa-exec -p lxc-phoenix-v2 -- cat /proc/kcore."""
    known = ProcessNotes("", {42: frozenset({"950"})})
    assert owner(MOUNT, known) is None
    assert owner(MOUNT.replace("pid=1985 ", ""), known) is None


def test_attribute_by_notes_that_are_not_whole_is_nobody() -> None:
    """Its pid may have passed from 950 to 951, or back."""
    unsure = replace(noted("951"), lost="too many")
    assert owner(MOUNT, unsure) is None
    assert owner(GENERATED, unsure) == 200


def test_cgroups_script_of_ten_thousand_returns_those_that_live(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Asked(Local):
        said = b""

        def run(self, argv: Sequence[str], **more: Any) -> CommandResult:
            assert not self.said
            result = super().run(argv, **more)
            self.said = result.stdout
            return result

    with subprocess.Popen(["sleep", "0"]) as gone:
        gone.wait()
    node, pids = Asked(), [gone.pid, os.getpid(), *range(4_000_000, 4_010_000)]
    monkeypatch.setattr(apparmor, "processes_under", lambda *_: pids)
    running_under(node, NAME)
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
