"""Before an upgrade: what is asked, what counts as coming, and what cannot be known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from docker_lxc_gate.doctor import guest_reads, node_reads, upgrade_reads
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.result import CommandResult
from tests.doubles.patient import CTID, advice, first, problems
from tests.doubles.upgrading import (
    DEBIAN,
    LATER,
    LISTS,
    NOTHING,
    NOW,
    OLDER,
    WITHOUT,
    docker,
    installed,
    plan,
    upgraded,
)

if TYPE_CHECKING:
    from docker_lxc_gate.machines.read import Read
    from tests.doubles.patient import Raw

PLAN, INSTALLED = upgrade_reads.PLAN, upgrade_reads.INSTALLED
CONFINED, VERSIONS = node_reads.confined(CTID), node_reads.VERSIONS


def test_version_that_the_table_does_not_know_is_unknown_and_no_problem() -> None:
    node: dict[Read[Any], Raw] = {
        INSTALLED: installed("lxc-pve 6.0.5-2"),
        PLAN: plan("lxc-pve 6.0.5-2 7.0.1-1", "linux-image-7.2.1+deb14-amd64 7.2.1-1"),
        VERSIONS: "kernel 6.12.57+deb13-amd64\n",
    }
    found = upgraded(node, {**docker("30.0.0"), guest_reads.INFO: WITHOUT})
    assert problems(found) == []
    said = first(found, "upgrade-unknown")
    assert "lxc-pve 6.0.5-2 → 7.0.1-1 on the node" in said.cause
    assert "kernel 6.12.57+deb13-amd64 → 7.2.1+deb14-amd64 on the node" in said.cause
    assert "→ 5:30.0.0-1 in the container" in said.cause
    assert found.exit_code == 0


def test_unknown_version_that_is_installed_already_is_not_said_again() -> None:
    found = upgraded({}, {INSTALLED: installed("docker-ce 5:30.0.0-1", "runc 1.1.15")})
    assert advice(found) == []


#: An answer, and what is said of it: nobody knows then what apt would install.
BLIND: list[tuple[Read[Any], Raw, str]] = [
    (PLAN, (5, "", "apt or dpkg is at work there: ask again when it has ended"), "at work"),
    (PLAN, (100, "", "E: Could not get lock /var/lib/dpkg/lock-frontend"), "Could not get lock"),
    (PLAN, (100, "", "E: Unmet dependencies. Try 'apt --fix-broken install'"), "Unmet"),
    (PLAN, (4, "", "there is no apt-get"), "no apt-get"),
    (PLAN, "", "cannot be read"),
    (PLAN, "Inst runc [1] (2 Debian)\n", "cannot be read"),
    (INSTALLED, (127, "", "dpkg-query: not found"), "not found"),
    (upgrade_reads.LISTS, f"now {NOW}\nasked 0\nlists 0\n", "no lists"),
    (upgrade_reads.LISTS, f"now {NOW}\nasked {NOW - 30 * 86400}\nlists 4\n", "30 days old"),
    # apt-get update without a network: the mirrors were asked, and the lists stayed as they were
    (
        upgrade_reads.LISTS,
        f"now {NOW}\nasked {NOW - 60}\nlists 4\nValid-Until: Mon, 02 Nov 2026 02:22:31 UTC\n",
        "expired 25 days ago",
    ),
    (upgrade_reads.LISTS, "now 1\n", "cannot be read"),
]


@pytest.mark.parametrize(("read", "answer", "why"), BLIND)
@pytest.mark.parametrize("where", ["node", "container"])
def test_machine_whose_plan_is_not_known_ends_with_3_and_says_why(
    read: Read[Any], answer: Raw, why: str, where: str
) -> None:
    node: dict[Read[Any], Raw] = {read: answer} if where == "node" else {}
    guest: dict[Read[Any], Raw] = {INSTALLED: DEBIAN}
    if where == "container":
        guest[read] = answer
    found = upgraded(node, guest)
    assert problems(found) == []
    (said,) = [each for each in found.unseen if each.what.startswith("what apt would install")]
    assert why in said.why
    assert ("on the node" if where == "node" else "in the container") in said.what
    assert found.exit_code == 3


def test_old_lists_hide_no_breakage_that_they_show() -> None:
    old = f"now {NOW}\nasked {NOW - 30 * 86400}\nlists 4\n"
    found = upgraded({}, {INSTALLED: OLDER, PLAN: LATER, upgrade_reads.LISTS: old})
    assert problems(found) == ["upgrade-runc-reopen"]
    assert found.unseen
    assert found.exit_code == 1


def test_list_without_a_date_and_a_clock_that_was_set_back_are_no_reason_to_doubt() -> None:
    odd = f"now {NOW}\nasked {NOW + 99999}\nlists 1\nValid-Until: never\n"
    found = upgraded({upgrade_reads.LISTS: odd}, {INSTALLED: DEBIAN})
    assert (found.unseen, found.exit_code) == ((), 0)


def test_container_that_does_not_run_is_told_and_the_node_is_judged() -> None:
    node: dict[Read[Any], Raw] = {PLAN: plan("-lxc 1:6.0.4-4+deb13u3")}
    found = upgraded(node, runs=False)
    assert problems(found) == ["upgrade-removes"]
    assert {each.why for each in found.unseen} == {f"container {CTID} does not run"}
    assert upgraded(runs=False).exit_code == 3


def test_container_without_a_package_of_docker_is_not_judged() -> None:
    found = upgraded()
    assert [each.what for each in found.unseen] == ["whether Docker would run"]
    assert found.exit_code == 3


def test_condition_that_cannot_be_read_is_named_where_a_version_asks_for_it() -> None:
    blind: dict[Read[Any], Raw] = {CONFINED: (4, "", "no label")}
    found = upgraded(blind, {INSTALLED: OLDER, PLAN: LATER})
    assert [each.why for each in found.unseen] == ["no label"]
    assert found.exit_code == 3
    assert upgraded(blind, {INSTALLED: DEBIAN}).exit_code == 0


@pytest.mark.parametrize(
    "line",
    [
        "Inst runc [1.1] (1.3.3\x1b[2J Debian)",
        f"Inst runc [1.1] ({'9' * 5000} Debian)",
        "Inst docker-ce;reboot [1] (2 x)",
        f"Inst {'a' * 5000} (1)",
        "Inst runc",
        "Remv \u202e",
    ],
)
def test_plan_of_a_hostile_guest_is_no_plan(line: str) -> None:
    with pytest.raises(FactError, match="cannot be read"):
        upgrade_reads.PLAN.parse(answered(f"{line}\n{NOTHING}"))


def test_plan_holds_the_packages_of_the_table_alone() -> None:
    lines = (
        "Inst evil [1] (2 x)\nInst lxc-pve [1] (2 x) trailing\nRemv lxc [1] [x y ]\n"
        "Inst runc:arm64 [1.1] (1.1.9-1 Debian:13 [arm64]) [b c:arm64 ]\n"
    )
    steps = upgrade_reads.PLAN.parse(answered(lines + NOTHING))
    assert [(each.package, each.version) for each in steps] == [
        ("lxc-pve", "2"),
        ("lxc", ""),
        ("runc", "1.1.9-1"),
    ]


def test_installed_packages_are_those_of_the_table_alone() -> None:
    lines = "runc ii  1.1\nrunc; ii  1\nevil ii  1\nrunc rc  1.3.3\nlxc hi  1:6\n"
    had = upgrade_reads.INSTALLED.parse(answered(lines * 1000))
    assert had == {"runc": "1.1", "lxc": "1:6"}


def answered(text: str) -> CommandResult:
    return CommandResult(("x",), 0, text.encode(), b"", "c", 0.0, 0.0)


@pytest.mark.parametrize(
    ("package", "release"),
    [
        ("proxmox-kernel-6.17.4-1-pve-signed", "6.17.4-1-pve"),
        ("proxmox-kernel-6.17.4-1-pve", "6.17.4-1-pve"),
        ("pve-kernel-5.15.158-2-pve", "5.15.158-2-pve"),
        ("linux-image-6.12.118+deb13-amd64", "6.12.118+deb13-amd64"),
        ("linux-image-6.8.0-90-generic", "6.8.0-90-generic"),
        ("linux-image-6.12.118+deb13-amd64-dbg", ""),
        ("linux-image-6.12.118+deb13-amd64-unsigned", "6.12.118+deb13-amd64"),
        ("proxmox-kernel-6.17", ""),
        ("linux-image-amd64", ""),
        ("runc", ""),
    ],
)
def test_release_is_that_of_a_kernels_package(package: str, release: str) -> None:
    assert upgrade_reads.release(package) == release


def test_kernel_that_waits_for_a_reboot_counts_as_coming() -> None:
    had = installed("lxc 1:6.0.6-1", "linux-image-6.17.8+deb14-amd64 6.17.8-1")
    inside = installed("docker.io 26.1.5+dfsg1-9", "apparmor 4.1.0-1")
    found = upgraded({INSTALLED: had}, {INSTALLED: inside})
    assert problems(found) == ["upgrade-kernel-unix-sockets"]


def test_kernel_that_runs_and_is_newer_than_all_packages_stays() -> None:
    node: dict[Read[Any], Raw] = {
        INSTALLED: installed("lxc 1:6.0.6-1", "linux-image-6.12.57+deb13-amd64 6.12.57-1"),
        VERSIONS: "kernel 6.16.3-local\n",
    }
    inside = installed("docker-ce 5:29.4.3-1", "fuse-overlayfs 1.14-1")
    assert advice(upgraded(node, {INSTALLED: inside})) == []


@pytest.mark.parametrize(
    ("kernel", "waits"),
    [
        ("6.15.11-pve", False),
        ("6.17.4-1-pve", True),
        ("6.18.20+deb14-amd64", True),
        ("6.18.21+deb14-amd64", False),
        ("6.19.6-1-pve", True),
        ("6.19.11-1-pve", False),
        ("7.0.2-1-pve", False),
    ],
)
def test_kernel_whose_sync_waits_for_fuse_is_told_until_the_backports(
    kernel: str, *, waits: bool
) -> None:
    inside = installed("docker-ce 5:29.4.3-1", "fuse-overlayfs 1.16-1")
    found = upgraded({VERSIONS: f"kernel {kernel}\n", PLAN: plan()}, {INSTALLED: inside})
    assert found.unseen == ()
    new = {PLAN: plan(f"linux-image-{kernel} 1")}
    assert ("upgrade-kernel-fuse-sync" in advice(upgraded(new, {INSTALLED: inside}))) is waits


def test_kernel_that_the_plan_removes_is_not_the_next_one() -> None:
    node: dict[Read[Any], Raw] = {
        INSTALLED: installed("linux-image-6.16.3+deb14-amd64 6.16.3-1"),
        PLAN: plan("-linux-image-6.16.3+deb14-amd64 6.16.3-1"),
    }
    inside = installed("docker-ce 5:29.4.3-1", "fuse-overlayfs 1.16-1")
    assert advice(upgraded(node, {INSTALLED: inside})) == []


def test_node_that_does_not_say_its_kernel_is_not_judged() -> None:
    found = upgraded({VERSIONS: "lxc 6.0.4\n"}, {INSTALLED: DEBIAN})
    assert [each.why for each in found.unseen] == ["the node does not say which kernel it runs"]


def test_lists_of_the_doubles_are_current() -> None:
    assert upgrade_reads.LISTS.parse(answered(LISTS)).doubt == ""
