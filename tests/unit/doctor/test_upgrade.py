"""Before an upgrade: what breaks is named, what is fixed too, and what nobody knows is said."""

from typing import Any

import pytest

from docker_lxc_gate.doctor import guest_reads, node_reads, upgrade_reads
from docker_lxc_gate.doctor.guest_reads import OWN_APPARMOR, SETTINGS
from docker_lxc_gate.doctor.upgrade_pairs import KERNEL, ONLY, PAIRS, groups
from docker_lxc_gate.doctor.upgrade_reads import CONDITIONS, IPTABLES, KERNEL_HAS
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.apt import is_within
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.result import CommandResult
from tests.doubles.patient import CONFIG, CTID, Raw, advice, confined, container, first, problems
from tests.doubles.upgrading import (
    DEBIAN,
    LATER,
    NOTHING,
    NOW,
    OLDER,
    WITHOUT,
    docker,
    installed,
    plan,
    upgraded,
)

PLAN, INSTALLED = upgrade_reads.PLAN, upgrade_reads.INSTALLED
#: What is answered, by what was asked.
Answers = dict[Read[Any], Raw]
CONFINED, VERSIONS = node_reads.confined(CTID), node_reads.VERSIONS
BASED = "profile lxc-mine {\n  include <abstractions/lxc/container-base>\n}\n"
DENIES = "  deny /sys/[^fdck]*{,/**} wklx,\n"
NO_FILE = (1, "", "No such file or directory")
PVE = installed("lxc-pve 6.0.5-1")


def at(had: str | Raw, *steps: str) -> Answers:
    """A machine with these packages, separated by commas, and what apt would do there."""
    return {
        INSTALLED: installed(*had.split(", ")) if isinstance(had, str) else had,
        PLAN: plan(*steps),
    }


def mine(rule: str) -> Answers:
    """A node on which the container has a profile of its own."""
    return {CONFINED: confined("lxc-mine (enforce)", f"profile lxc-mine {{\n  {rule},\n}}\n")}


KERNEL_6_17: Answers = {PLAN: plan("proxmox-kernel-6.17.4-1-pve-signed 6.17.4-1")}
NEWER: Answers = {INSTALLED: OLDER, PLAN: LATER}
FRESH: Answers = {PLAN: plan("docker-ce 5:28.5.2-1", "containerd.io 1.7.27-1")}
FRESH_29: Answers = {PLAN: plan("docker-ce 5:29.4.3-1", "containerd.io 2.2.1-1")}
LEGACY_28: Answers = {**docker("28.0.4"), IPTABLES: "iptables v1.8.9 (legacy)\n"}
OWN = confined("lxc-mine (enforce)", BASED, DENIES)
APPARMOR_4 = "apparmor 3.0.8-3 4.1.0-1"
ON_FUSE = "docker-ce 5:29.4.3-1, fuse-overlayfs 1.14-1"

#: What the node answers, what the container answers, and the problem named.
BREAKS: list[tuple[Answers, Answers, str]] = [
    ({}, NEWER, "upgrade-runc-reopen"),
    (at(PVE), NEWER, "upgrade-runc-reopen"),
    ({CONFINED: OWN, PLAN: plan("lxc 1:6.0.6-1")}, NEWER, "upgrade-runc-reopen-base"),
    ({KERNEL_HAS: ""}, LEGACY_28, "upgrade-docker-28-raw"),
    (mine("umount"), FRESH_29 | {SETTINGS: NO_FILE}, "upgrade-docker-29-store"),
    ({}, docker("29.5.0") | {SETTINGS: '{"default-runtime": "x"}'}, "upgrade-docker-29-time"),
    (KERNEL_6_17, at("docker.io 26.1.5+dfsg1-9, apparmor 4.1.0-1"), "upgrade-kernel-unix-sockets"),
    ({}, at(DEBIAN, "-docker.io 26.1.5+dfsg1-9", "runc 1.1.15 1.1.16"), "upgrade-removes"),
    ({}, at("docker.io 27.5.1, fuse-overlayfs 1.14-1", "-fuse-overlayfs 1"), "upgrade-removes"),
    (at(PVE, "-lxc-pve 6.0.5-1"), at(DEBIAN), "upgrade-removes"),
    ({}, at("docker.io 26.1.5, containerd 1.7.24, runc 1.1", "-containerd 1"), "upgrade-removes"),
    # a kernel that waits for a reboot counts as coming
    (
        at("lxc 1:6.0.6-1, linux-image-6.17.8+deb14-amd64 6.17.8-1"),
        at("docker.io 26.1.5+dfsg1-9, apparmor 4.1.0-1"),
        "upgrade-kernel-unix-sockets",
    ),
]


def test_lxc_7_breaks_a_configuration_with_keys_of_the_first_cgroups() -> None:
    node: Answers = at("lxc 1:6.0.6-1", "lxc 1:6.0.6-1 1:7.0.0-1")
    guest: Answers = at(DEBIAN)
    new = upgraded(node, guest, config=f"{CONFIG}lxc.cgroup2.devices.allow = a\n", pct=False)
    assert (problems(new), new.unseen, new.exit_code) == ([], (), 0)
    old = upgraded(node, guest, config=f"{CONFIG}lxc.cgroup.devices.allow = a\n", pct=False)
    assert (problems(old), old.exit_code) == (["upgrade-lxc-7-keys"], 1)


#: Upgrades that look like those above, and break nothing.
FINE: list[tuple[Answers, Answers]] = [
    ({}, at(OLDER)),
    (at("lxc-pve 6.0.5-2"), NEWER),
    ({PLAN: plan("lxc 1:6.0.4-4+deb13u3 1:6.0.6-1")}, NEWER),
    # a profile of its own, which states no rule about /proc/sys
    (mine("mount"), NEWER),
    ({}, LEGACY_28),
    (mine("umount"), docker("29.4.3")),
    # a Docker that was there before keeps its driver, and a new one takes the one that is named
    (mine("umount"), {**docker("29.4.3"), SETTINGS: NO_FILE}),
    (mine("umount"), FRESH_29),
    # what a file says of a generated profile is not that profile
    (
        at("lxc 1:6.0.6-1") | {CONFINED: OWN.replace("mine", "950_</var/lib/lxc>", 1)},
        NEWER,
    ),
    (
        KERNEL_6_17,
        at("docker.io 26.1.5+dfsg1-9, apparmor 4.1.0-1") | {guest_reads.INFO: WITHOUT},
    ),
    # an AppArmor in the container that compiles for an older ABI
    (KERNEL_6_17, at("docker-ce 5:28.5.1-1, apparmor 3.0.8-3")),
    # another package in its place
    (
        {},
        at(
            DEBIAN,
            *("-docker.io 26.1.5", "-containerd 1.7.24", "-runc 1.1.15"),
            *("docker-ce 5:28.5.1-1", "containerd.io 1.7.27-1"),
        ),
    ),
]


def test_breakage_that_is_there_already_says_so_and_what_fixes_it_is_advice() -> None:
    guest = at("docker.io 27.5.1, containerd 1.7.24, runc 1.3.3+ds1-2")
    found = upgraded({}, guest)
    assert (problems(found), found.exit_code) == (["upgrade-runc-reopen"], 1)
    assert found.problems[0].cause.startswith("as now already, no Docker container starts")
    found = upgraded({PLAN: plan("lxc 1:6.0.4-4+deb13u3 1:6.0.4-4+deb13u4")}, guest)
    assert problems(found) == []
    said = first(found, "upgrade-fixes")
    assert said.cause.endswith(": row upgrade-runc-reopen")
    assert "1:6.0.4-4+deb13u3 → 1:6.0.4-4+deb13u4 on the node" in said.cause
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("node", "guest", "machine", "row"),
    [
        ({PLAN: plan("lxc 1:6.0.4-4+deb13u3 1:6.0.6-1")}, NEWER, "node first", "runc-reopen"),
        (
            {PLAN: plan("linux-image-6.17.8+deb14-amd64 6.17.8-1")},
            at("docker-ce 5:28.5.1-1, apparmor 4.1.0-1", "docker-ce 5:28.5.1-1 5:29.4.3-1"),
            "container before the node reboots",
            "kernel-unix-sockets",
        ),
    ],
)
def test_upgrade_that_works_only_in_one_order_says_which(
    node: Answers, guest: Answers, machine: str, row: str
) -> None:
    found = upgraded(node, guest)
    assert problems(found) == []
    said = first(found, "upgrade-order")
    assert said.cause.startswith(f"upgrade the {machine}; ")
    assert said.cause.endswith(f": row upgrade-{row}")


SOCKET = container(Mounts=[{"Type": "bind", "Source": "/var/run/docker.sock", "RW": False}])
LEGACY = {INSTALLED: DEBIAN, IPTABLES: "iptables v1.8.11 (legacy)\n"}
Both = tuple[Answers, Answers]


def pve(old: str, new: str) -> Both:
    """An upgrade of pve-container, with a Docker that stays."""
    had = installed("lxc-pve 6.0.5-2", f"pve-container {old}")
    return at(had, f"pve-container {old} {new}"), at(DEBIAN)


#: Of a container's configuration too: a line of it, the upgrade, and what is named.
BY_CONFIG: list[tuple[str, Both, str]] = [
    ("mp0: /mnt/nas,mp=/data", pve("6.0.18", "6.1.0"), "upgrade-pve-bind-mounts"),
    ("mp0: local:950/x,mp=/data", pve("6.0.18", "6.1.1"), "upgrade-pve-volumes"),
    ("ostype: unmanaged", pve("6.0.18", "6.1.0"), "upgrade-pve-unmanaged"),
    ("lxc.cgroup.devices.allow: a", pve("6.1.5", "6.1.6"), "upgrade-pve-cgroup-keys"),
    ("features: fuse=1", ({}, at(DEBIAN, "systemd 252.39-1 257.13-1")), "upgrade-systemd-nesting"),
    ("lxc.apparmor.profile: unconfined", ({}, FRESH), "upgrade-docker-unconfined"),
    # what looks like it
    ("mp0: local:950/x,mp=/data", pve("6.0.18", "6.1.2"), ""),
    ("mp0: /mnt/nas,mp=/data", pve("6.1.0", "6.1.1"), "upgrade-fixes"),
    ("lxc.cgroup.dir.container: x", pve("6.1.4", "6.1.4"), ""),
    ("ostype: debian", pve("6.1.0", "6.1.2"), ""),
    ("features: nesting=1", ({}, at("docker.io 26.1.5, systemd 257.1")), ""),
    ("lxc.apparmor.profile: unconfined", ({}, FRESH | {OWN_APPARMOR: "securityfs\n"}), ""),
]


@pytest.mark.parametrize(("line", "both", "named"), BY_CONFIG)
def test_upgrade_is_judged_by_the_configuration(line: str, both: Both, named: str) -> None:
    key = line.partition(":")[0]
    kept = [each for each in CONFIG.splitlines() if not each.startswith(f"{key}:")]
    found = upgraded(*both, config="\n".join([*kept, line, ""]))
    assert [each.id for each in found.problems] == ([named] if named else [])


#: What is said beside an upgrade after which Docker runs.
SAID: list[tuple[Answers, Answers, str]] = [
    ({}, {**docker("29.2.1"), guest_reads.CONTAINERS: SOCKET}, "upgrade-docker-29-api"),
    ({}, {**docker("29.3.0"), guest_reads.CONTAINERS: SOCKET}, "upgrade-docker-29-old-api"),
    ({}, docker("29.4.2"), "upgrade-docker-29-socketcall"),
    ({}, docker("29.4.3"), "upgrade-docker-29-af-alg"),
    ({PLAN: plan("proxmox-kernel-7.0.2-1-pve-signed 7.0.2-1")}, LEGACY, "upgrade-kernel-xtables"),
    (*pve("6.0.18", "6.0.19"), "upgrade-pve-root-owner"),
    (*pve("6.1.4", "6.1.5"), "upgrade-pve-af-alg"),
    (at("lxc-pve 6.0.5-2"), NEWER, "upgrade-containerd-files"),
    ({PLAN: plan("linux-image-6.16.3+x-amd64 1")}, at(ON_FUSE), "upgrade-kernel-fuse-sync"),
    ({}, at(ON_FUSE, "fuse-overlayfs 1.14-1 1.16-1"), "upgrade-fixes"),
    (at("apparmor 3.0.8-3, lxc 1:5.0.2-1", APPARMOR_4), at(DEBIAN), "upgrade-apparmor-4-userns"),
    ({}, at("docker.io 20.10.24-1, apparmor 3.0.8-3", APPARMOR_4), "upgrade-apparmor-4-stop"),
]


@pytest.mark.parametrize(
    ("node", "guest", "named", "said"),
    [
        *((*row, "") for row in BREAKS),
        *((*row, "", "") for row in FINE),
        *((node, guest, "", said) for node, guest, said in SAID),
    ],
)
def test_upgrade_names_what_it_breaks_alone(
    node: Answers, guest: Answers, named: str, said: str
) -> None:
    found = upgraded(node, guest)
    assert problems(found) == [named] * bool(named)
    assert named or found.unseen == ()
    assert not said or said in advice(found)
    assert found.exit_code == bool(named)


def test_table_has_known_conditions_and_packages_and_ranges_that_go_forward() -> None:
    assert {pair.only for pair in PAIRS} - {""} == set(CONDITIONS) == set(ONLY)
    for pair in PAIRS:
        for _, group in (*groups(pair.broken), *groups(pair.fixed)):
            for each in group:
                assert each.package in {*upgrade_reads.WATCHED, KERNEL}
                assert not each.before or is_within(each.since, "", each.before)


def test_version_that_the_table_does_not_know_is_unknown_and_no_problem() -> None:
    steps = ("lxc-pve 6.0.5-2 7.1.1-1", "linux-image-7.2.1+deb14-amd64 7.2.1-1")
    found = upgraded(at("lxc-pve 6.0.5-2", *steps), {**docker("30.0.0"), guest_reads.INFO: WITHOUT})
    assert problems(found) == []
    said = first(found, "upgrade-unknown")
    assert "lxc-pve 6.0.5-2 → 7.1.1-1 on the node" in said.cause
    assert "kernel 6.12.57+deb13-amd64 → 7.2.1+deb14-amd64 on the node" in said.cause
    assert "→ 5:30.0.0-1 in the container" in said.cause
    assert found.exit_code == 0


def test_unknown_version_that_is_installed_already_is_not_said_again() -> None:
    found = upgraded({}, at("docker-ce 5:30.0.0-1, runc 1.1.15"))
    assert advice(found) == []


#: An answer, and what is said of it: nobody knows then what apt would install.
BLIND: list[tuple[Read[Any], Raw, str]] = [
    (PLAN, (5, "", "apt or dpkg is at work there: ask again when it has ended"), "at work"),
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
    node: Answers = {read: answer} if where == "node" else {}
    guest: Answers = at(DEBIAN)
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
    found = upgraded({upgrade_reads.LISTS: odd}, at(DEBIAN))
    assert (found.unseen, found.exit_code) == ((), 0)


def test_container_that_does_not_run_is_told_and_the_node_is_judged() -> None:
    node: Answers = {PLAN: plan("-lxc 1:6.0.4-4+deb13u3")}
    found = upgraded(node, runs=False)
    assert problems(found) == ["upgrade-removes"]
    assert {each.why for each in found.unseen} == {f"container {CTID} does not run"}
    assert upgraded(runs=False).exit_code == 3


def test_container_without_docker_and_node_that_does_not_say_its_kernel_are_not_judged() -> None:
    found = upgraded({VERSIONS: "lxc 6.0.4\n"}, at(DEBIAN))
    assert [each.why for each in found.unseen] == ["the node does not say which kernel it runs"]
    assert problems(upgraded({VERSIONS: "lxc 6.0.4\n"}, NEWER)) == []
    found = upgraded()
    assert [each.what for each in found.unseen] == ["whether Docker would run"]
    assert found.exit_code == 3


def test_condition_that_cannot_be_read_is_named_where_a_version_asks_for_it() -> None:
    blind: Answers = {CONFINED: (4, "", "no label")}
    found = upgraded(blind, NEWER)
    assert [each.why for each in found.unseen] == ["no label"]
    assert found.exit_code == 3
    assert upgraded(blind, at(DEBIAN)).exit_code == 0


def test_plan_holds_the_packages_of_the_table_alone() -> None:
    lines = (
        "Inst evil [1] (2 x)\nInst lxc-pve [1] (2 x) trailing\nRemv lxc [1] [x y ]\n"
        "Inst runc:arm64 [1.1] (1.1.9-1 Debian:13 [arm64]) [b c:arm64 ]\n"
    )
    steps = upgrade_reads.PLAN.parse(answered(lines + NOTHING))
    assert steps == {"lxc-pve": "2", "lxc": "", "runc": "1.1.9-1"}
    for hostile in ("Inst runc [1.1] (1.3.3\x1b[2J Debian)", f"Inst runc [1] ({'9' * 5000} x)"):
        with pytest.raises(FactError, match="cannot be read"):
            upgrade_reads.PLAN.parse(answered(f"{hostile}\n{NOTHING}"))


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
        ("pve-kernel-5.15.158-2-pve", "5.15.158-2-pve"),
        ("linux-image-6.12.118+deb13-amd64-dbg", ""),
        ("linux-image-6.12.118+deb13-amd64-unsigned", "6.12.118+deb13-amd64"),
        ("linux-image-amd64", ""),
    ],
)
def test_release_is_that_of_a_kernels_package(package: str, release: str) -> None:
    assert upgrade_reads.release(package) == release


FUSE_SYNC = "linux-image-6.16.3+deb14-amd64 6.16.3-1"


@pytest.mark.parametrize(
    ("node", "waits"),
    [
        ({PLAN: plan("linux-image-6.18.20+deb14-amd64 1")}, True),
        ({PLAN: plan("linux-image-6.18.21+deb14-amd64 1")}, False),
        ({PLAN: plan("linux-image-6.19.10-pve 1")}, True),
        ({PLAN: plan("linux-image-7.0.2-1-pve 1")}, False),
        (at(FUSE_SYNC, f"-{FUSE_SYNC}"), False),  # the plan removes it
        # the one that runs is newer than all packages, and stays
        (at("linux-image-6.12.57+deb13-amd64 1") | {VERSIONS: "kernel 6.16.3-local\n"}, False),
    ],
)
def test_kernel_whose_sync_waits_is_told_if_it_comes(node: Answers, waits: bool) -> None:
    """Until the backports."""
    found = upgraded(node, at("docker-ce 5:29.4.3-1, fuse-overlayfs 1.16-1"))
    assert ("upgrade-kernel-fuse-sync" in advice(found)) is waits
