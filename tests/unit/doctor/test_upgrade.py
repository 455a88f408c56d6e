"""Before an upgrade: what breaks is named, what is mended too, and what nobody knows is said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from doctor import guest_reads, node_reads, upgrade, upgrade_reads
from doctor.upgrade_conditions import CONDITIONS
from doctor.upgrade_pairs import KERNEL, KNOWN, NEEDED, PAIRS
from facts.apt import is_within
from targets.errors import FactError, Unreachable
from targets.transport import CommandResult
from tests.doubles.behind_shell import answer_line
from tests.doubles.canned import Runtime
from tests.doubles.patient import CONFIG, CTID, INFO, advice, confined, container, troubles
from tests.doubles.upgrading import LISTS, NOTHING, NOW, installed, plan, upgraded
from tests.unit.doctor.test_examine import Counted, Ours, Plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from doctor.trouble import Diagnosis
    from doctor.upgrade_pairs import Pair
    from targets.read import Read
    from tests.doubles.patient import Raw

PLAN, INSTALLED = upgrade_reads.PLAN, upgrade_reads.INSTALLED
CONFINED, VERSIONS = node_reads.confined(CTID), node_reads.VERSIONS
BASED = "profile lxc-mine {\n  include <abstractions/lxc/container-base>\n}\n"
DENIES = "  deny @{PROC}/sys/[^kn]*{,/**} wklx,\n"
OWN = '"SecurityOptions":["name=seccomp,profile=builtin"]'
WITHOUT = INFO.replace(
    '"SecurityOptions":["name=apparmor","name=seccomp,profile=builtin","name=cgroupns"]', OWN
)
DEBIAN = installed("docker.io 26.1.5+dfsg1-9", "containerd 1.7.24~ds1-6", "runc 1.1.15+ds1-2")
OLDER = installed(
    "docker-ce 5:28.5.1-1~debian.13~trixie", "containerd.io 1.7.28-1~debian.13~trixie"
)
LATER = plan(
    "containerd.io 1.7.28-1~debian.13~trixie 2.2.1-1~debian.13~trixie",
    "docker-ce 5:28.5.1-1~debian.13~trixie 5:29.4.3-1~debian.13~trixie",
)
PVE = installed("lxc-pve 6.0.5-1")


def docker(version: str) -> dict[Read[Any], Raw]:
    """Docker 27 with a runc that Debian ships, and a plan for another Docker."""
    had = installed("docker-ce 5:27.5.1-1~debian.12~bookworm", "containerd.io 1.7.25-1")
    return {INSTALLED: had, PLAN: plan(f"docker-ce 5:27.5.1-1~debian.12~bookworm 5:{version}-1")}


#: What the node answers, what the container answers, the configuration, and the trouble named.
BREAKS: list[tuple[dict[Read[Any], Raw], dict[Read[Any], Raw], str, str]] = [
    ({}, {INSTALLED: OLDER, PLAN: LATER}, CONFIG, "upgrade-runc-reopen"),
    (
        {},
        {INSTALLED: DEBIAN, PLAN: plan("runc 1.1.15+ds1-2 1.3.3+ds1-2")},
        CONFIG,
        "upgrade-runc-reopen",
    ),
    ({INSTALLED: PVE}, {INSTALLED: OLDER, PLAN: LATER}, CONFIG, "upgrade-runc-reopen"),
    # as it is now already, and nothing mends it
    (
        {},
        {INSTALLED: installed("docker.io 27.5.1", "containerd 1.7.24", "runc 1.3.3+ds1-2")},
        CONFIG,
        "upgrade-runc-reopen",
    ),
    (
        {CONFINED: confined("lxc-mine (enforce)", BASED, DENIES), PLAN: plan("lxc 1:6.0.6-1")},
        {INSTALLED: OLDER, PLAN: LATER},
        CONFIG,
        "upgrade-runc-reopen-base",
    ),
    ({}, {**docker("23.0.0"), guest_reads.OWN_APPARMOR: "parser\n"}, CONFIG, "docker-23-parser"),
    ({}, {**docker("23.0.1"), guest_reads.OWN_APPARMOR: "parser\n"}, CONFIG, "docker-23-parser"),
    ({upgrade_reads.KERNEL_HAS: "iptable_raw\n"}, docker("28.0.0"), CONFIG, "docker-28-ipset"),
    (
        {upgrade_reads.KERNEL_HAS: "ip_set\nip_set_hash_net\nxt_set\n"},
        {**docker("28.0.4"), upgrade_reads.IPTABLES: "iptables v1.8.9 (legacy)\n"},
        CONFIG,
        "docker-28-raw",
    ),
    (
        {CONFINED: confined("lxc-mine (enforce)", "profile lxc-mine {\n  umount,\n}\n")},
        {
            PLAN: plan("docker-ce 5:29.4.3-1", "containerd.io 2.2.1-1"),
            guest_reads.SETTINGS: (1, "", "No such file or directory"),
        },
        CONFIG,
        "docker-29-store",
    ),
    (
        {},
        {**docker("29.5.0"), guest_reads.SETTINGS: '{"default-runtime": "sysbox-runc"}'},
        CONFIG,
        "docker-29-time",
    ),
    (
        {PLAN: plan("proxmox-kernel-6.17.4-1-pve-signed 6.17.4-1")},
        {INSTALLED: installed("docker.io 26.1.5+dfsg1-9", "apparmor 4.1.0-1")},
        CONFIG,
        "kernel-unix-sockets",
    ),
    (
        {INSTALLED: installed("lxc 1:6.0.6-1"), PLAN: plan("lxc 1:6.0.6-1 1:7.0.0-1")},
        {INSTALLED: DEBIAN},
        f"{CONFIG}lxc.cgroup.devices.allow = a\n",
        "lxc-7-keys",
    ),
    (
        {},
        {INSTALLED: DEBIAN, PLAN: plan("-docker.io 26.1.5+dfsg1-9", "runc 1.1.15 1.1.16")},
        CONFIG,
        "upgrade-removes",
    ),
    (
        {},
        {
            INSTALLED: installed("docker.io 27.5.1", "containerd 1.7.24", "fuse-overlayfs 1.14-1"),
            PLAN: plan("-fuse-overlayfs 1.14-1"),
        },
        CONFIG,
        "upgrade-removes",
    ),
    ({INSTALLED: PVE, PLAN: plan("-lxc-pve 6.0.5-1")}, {INSTALLED: DEBIAN}, CONFIG, "-removes"),
]


@pytest.mark.parametrize(("node", "guest", "config", "named"), BREAKS)
def test_upgrade_that_breaks_docker_is_named_alone(
    node: dict[Read[Any], Raw], guest: dict[Read[Any], Raw], config: str, named: str
) -> None:
    found = upgraded(node, guest, config=config, pct="lxc-7" not in named)
    assert [each.removeprefix("upgrade-") for each in troubles(found)] == [
        named.removeprefix("-").removeprefix("upgrade-")
    ]
    assert found.exit_code == 1


#: Upgrades that look like those above, and break nothing.
FINE: list[tuple[dict[Read[Any], Raw], dict[Read[Any], Raw], str]] = [
    ({}, {INSTALLED: OLDER}, CONFIG),
    ({INSTALLED: installed("lxc-pve 6.0.5-2")}, {INSTALLED: OLDER, PLAN: LATER}, CONFIG),
    ({INSTALLED: installed("lxc-pve 6.0.0-2")}, {INSTALLED: OLDER, PLAN: LATER}, CONFIG),
    (
        {INSTALLED: installed("lxc 1:6.0.4-4+deb13u4")},
        {INSTALLED: OLDER, PLAN: LATER},
        CONFIG,
    ),
    ({PLAN: plan("lxc 1:6.0.4-4+deb13u3 1:6.0.6-1")}, {INSTALLED: OLDER, PLAN: LATER}, CONFIG),
    # a profile of its own, which states no rule about /proc/sys
    (
        {CONFINED: confined("lxc-mine (enforce)", "profile lxc-mine {\n  mount,\n}\n")},
        {INSTALLED: OLDER, PLAN: LATER},
        CONFIG,
    ),
    ({}, {INSTALLED: DEBIAN, PLAN: plan("runc 1.1.15+ds1-2 1.1.15+ds1-2+deb13u1")}, CONFIG),
    ({}, {INSTALLED: DEBIAN, PLAN: plan("runc 1.1.15+ds1-2 1.2.7")}, CONFIG),
    ({}, docker("23.0.0"), CONFIG),
    ({}, {**docker("23.0.2"), guest_reads.OWN_APPARMOR: "parser\n"}, CONFIG),
    ({}, {**docker("23.0.0"), guest_reads.OWN_APPARMOR: "parser\nkernel\n"}, CONFIG),
    ({upgrade_reads.KERNEL_HAS: "iptable_raw\n"}, docker("28.0.1"), CONFIG),
    ({}, docker("28.0.0"), CONFIG),
    ({}, {**docker("28.0.4"), upgrade_reads.IPTABLES: "iptables v1.8.9 (legacy)\n"}, CONFIG),
    ({upgrade_reads.KERNEL_HAS: ""}, docker("28.0.4"), CONFIG),
    (
        {CONFINED: confined("lxc-mine (enforce)", "profile lxc-mine {\n  umount,\n}\n")},
        docker("29.4.3"),
        CONFIG,
    ),
    # a Docker that was there before keeps its driver, and a new one takes the one that is named
    (
        {CONFINED: confined("lxc-mine (enforce)", "profile lxc-mine {\n  umount,\n}\n")},
        {**docker("29.4.3"), guest_reads.SETTINGS: (1, "", "No such file or directory")},
        CONFIG,
    ),
    (
        {CONFINED: confined("lxc-mine (enforce)", "profile lxc-mine {\n  umount,\n}\n")},
        {PLAN: plan("docker-ce 5:29.4.3-1", "containerd.io 2.2.1-1")},
        CONFIG,
    ),
    # what a file says of a generated profile is not that profile
    (
        {
            CONFINED: confined("lxc-950_</var/lib/lxc> (enforce)", BASED, DENIES),
            INSTALLED: installed("lxc 1:6.0.6-1"),
        },
        {INSTALLED: OLDER, PLAN: LATER},
        CONFIG,
    ),
    ({}, docker("29.5.0"), CONFIG),
    (
        {PLAN: plan("proxmox-kernel-6.17.4-1-pve-signed 6.17.4-1")},
        {
            INSTALLED: installed("docker.io 26.1.5+dfsg1-9", "apparmor 4.1.0-1"),
            guest_reads.INFO: WITHOUT,
        },
        CONFIG,
    ),
    # an AppArmor in the container that compiles for an older ABI
    (
        {PLAN: plan("proxmox-kernel-6.17.4-1-pve-signed 6.17.4-1")},
        {INSTALLED: installed("docker-ce 5:28.5.1-1", "apparmor 3.0.8-3")},
        CONFIG,
    ),
    (
        {PLAN: plan("proxmox-kernel-6.14.11-4-pve-signed 6.14.11-4")},
        {INSTALLED: DEBIAN},
        CONFIG,
    ),
    (
        {INSTALLED: installed("lxc 1:6.0.6-1"), PLAN: plan("lxc 1:6.0.6-1 1:7.0.0-1")},
        {INSTALLED: DEBIAN},
        f"{CONFIG}lxc.cgroup2.devices.allow = a\n",
    ),
    # another package in its place
    (
        {},
        {
            INSTALLED: DEBIAN,
            PLAN: plan(
                *("-docker.io 26.1.5", "-containerd 1.7.24", "-runc 1.1.15"),
                *("docker-ce 5:28.5.1-1", "containerd.io 1.7.27-1"),
            ),
        },
        CONFIG,
    ),
]


@pytest.mark.parametrize(("node", "guest", "config"), FINE)
def test_upgrade_that_breaks_nothing_names_no_trouble(
    node: dict[Read[Any], Raw], guest: dict[Read[Any], Raw], config: str
) -> None:
    found = upgraded(node, guest, config=config)
    assert troubles(found) == []
    assert found.unseen == ()
    assert found.exit_code == 0


def first(found: Diagnosis, name: str) -> Any:
    return next(each for each in found.troubles if each.id == name)


def test_breakage_tells_both_versions_the_cause_and_its_sources() -> None:
    found = upgraded({}, {INSTALLED: OLDER, PLAN: LATER})
    said = found.troubles[0]
    assert said.cause.startswith("after the upgrade no Docker container starts")
    moved = "containerd.io 1.7.28-1~debian.13~trixie → 2.2.1-1~debian.13~trixie in the container"
    assert moved in said.cause
    assert "lxc stays 1:6.0.4-4+deb13u3 on the node" in said.cause
    assert "opencontainers/runc#4968" in said.why
    assert "apt-mark hold" in said.mend


def test_breakage_that_is_there_already_says_so() -> None:
    had = installed("docker.io 27.5.1", "containerd 1.7.24", "runc 1.3.3+ds1-2")
    found = upgraded({}, {INSTALLED: had})
    assert found.troubles[0].cause.startswith("as now already, no Docker container starts")


def test_upgrade_that_mends_is_advice_and_names_the_row() -> None:
    had = installed("docker.io 27.5.1", "containerd 1.7.24", "runc 1.3.3+ds1-2")
    found = upgraded({PLAN: plan("lxc 1:6.0.4-4+deb13u3 1:6.0.4-4+deb13u4")}, {INSTALLED: had})
    assert troubles(found) == []
    said = first(found, "upgrade-mends")
    assert said.cause.endswith(": row upgrade-runc-reopen")
    assert "1:6.0.4-4+deb13u3 → 1:6.0.4-4+deb13u4 on the node" in said.cause
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("node", "guest", "machine", "row"),
    [
        (
            {PLAN: plan("lxc 1:6.0.4-4+deb13u3 1:6.0.6-1")},
            {INSTALLED: OLDER, PLAN: LATER},
            "node first",
            "runc-reopen",
        ),
        (
            {PLAN: plan("linux-image-6.17.8+deb14-amd64 6.17.8-1")},
            {
                INSTALLED: installed("docker-ce 5:28.5.1-1", "apparmor 4.1.0-1"),
                PLAN: plan("docker-ce 5:28.5.1-1 5:29.4.3-1"),
            },
            "container before the node reboots",
            "kernel-unix-sockets",
        ),
    ],
)
def test_upgrade_that_works_only_in_one_order_says_which(
    node: dict[Read[Any], Raw], guest: dict[Read[Any], Raw], machine: str, row: str
) -> None:
    found = upgraded(node, guest)
    assert troubles(found) == []
    said = first(found, "upgrade-order")
    assert said.cause.startswith(f"upgrade the {machine}; ")
    assert said.cause.endswith(f": row upgrade-{row}")


#: What is said beside an upgrade after which Docker runs.
SAID: list[tuple[dict[Read[Any], Raw], dict[Read[Any], Raw], str]] = [
    (
        {},
        {
            **docker("29.4.3"),
            guest_reads.CONTAINERS: container(
                Mounts=[{"Type": "bind", "Source": "/var/run/docker.sock", "RW": False}]
            ),
        },
        "upgrade-docker-29-api",
    ),
    ({}, docker("29.4.2"), "upgrade-docker-29-socketcall"),
    (
        {INSTALLED: installed("lxc-pve 6.0.5-2")},
        {INSTALLED: OLDER, PLAN: LATER},
        "upgrade-containerd-files",
    ),
    (
        {PLAN: plan("linux-image-6.16.3+deb14-amd64 6.16.3-1")},
        {INSTALLED: installed("docker-ce 5:29.4.3-1", "fuse-overlayfs 1.14-1")},
        "upgrade-kernel-fuse-sync",
    ),
    (
        {},
        {
            INSTALLED: installed("docker-ce 5:29.4.3-1", "fuse-overlayfs 1.14-1"),
            PLAN: plan("fuse-overlayfs 1.14-1 1.16-1"),
        },
        "upgrade-mends",
    ),
    (
        {
            INSTALLED: installed("apparmor 3.0.8-3", "lxc 1:5.0.2-1+deb12u3"),
            PLAN: plan("apparmor 3.0.8-3 4.1.0-1"),
        },
        {INSTALLED: DEBIAN},
        "upgrade-apparmor-4-userns",
    ),
    (
        {},
        {
            INSTALLED: installed("docker.io 20.10.24+dfsg1-1", "apparmor 3.0.8-3"),
            PLAN: plan("apparmor 3.0.8-3 4.1.0-1"),
        },
        "upgrade-apparmor-4-stop",
    ),
]


@pytest.mark.parametrize(("node", "guest", "named"), SAID)
def test_upgrade_after_which_docker_runs_is_told_in_advice(
    node: dict[Read[Any], Raw], guest: dict[Read[Any], Raw], named: str
) -> None:
    found = upgraded(node, guest)
    assert troubles(found) == []
    assert named in advice(found)
    assert found.exit_code == 0


#: A thread, a place in a repository, a page of Docker's, a changelog of Debian's.
SOURCE = re.compile(
    r"[\w.-]+/[\w.-]+(#[1-9][0-9]*|, [\w./ -]+)|docs\.docker\.com(/[\w-]+)+"
    r"|Debian's changelog of [a-z-]+ [\w.+:~-]+"
)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda each: each.id)
def test_row_has_a_broken_and_a_mended_range_and_sources(pair: Pair) -> None:
    assert all(side.versions for side in (*pair.broken, *pair.mended))
    assert pair.broken
    assert pair.mended or pair.otherwise
    assert len(pair.sources) > 1, "who reported it, and who mended or confirmed it"
    assert all(map(SOURCE.fullmatch, pair.sources))
    assert pair.only in {"", *CONDITIONS}
    assert pair.mend.endswith(".")


@pytest.mark.parametrize("pair", PAIRS, ids=lambda each: each.id)
def test_mended_version_of_a_row_is_not_a_broken_one(pair: Pair) -> None:
    broken = {(side.where, each) for side in pair.broken for each in side.versions}
    for side in pair.mended:
        for mended in side.versions:
            for where, each in broken:
                same = (where, each.package) == (side.where, mended.package)
                assert not (same and is_within(mended.since or "0", each.since, each.before))


def test_ranges_of_the_table_go_forward_and_are_of_packages_that_are_asked_for() -> None:
    for pair in PAIRS:
        for side in (*pair.broken, *pair.mended):
            for each in side.versions:
                assert each.package in {*upgrade_reads.WATCHED, KERNEL}
                assert not each.before or is_within(each.since, "", each.before)


def test_conditions_are_those_that_rows_have() -> None:
    assert {pair.only for pair in PAIRS} - {""} == set(CONDITIONS)


def test_every_package_has_a_version_up_to_which_it_is_known() -> None:
    names = [each.package for each in KNOWN]
    assert len(names) == len(set(names))
    assert {each for _, packages in NEEDED for each in packages} <= set(names)
    assert all(SOURCE.fullmatch(each.source) for each in KNOWN)
    ids = [*(each.id for each in PAIRS), *(each.id for each in upgrade.KINDS)]
    assert len(ids) == len(set(ids))


def test_every_row_of_the_table_is_shown_by_a_test() -> None:
    rows = {f"upgrade-{named.removeprefix('-').removeprefix('upgrade-')}" for *_, named in BREAKS}
    rows |= {named for *_, named in SAID} | {"upgrade-fuse-overlayfs-entries"}
    assert {each.id for each in PAIRS} <= rows


def test_version_that_the_table_does_not_know_is_unknown_and_no_trouble() -> None:
    node: dict[Read[Any], Raw] = {
        INSTALLED: installed("lxc-pve 6.0.5-2"),
        PLAN: plan("lxc-pve 6.0.5-2 7.0.1-1", "linux-image-7.2.1+deb14-amd64 7.2.1-1"),
        VERSIONS: "kernel 6.12.57+deb13-amd64\n",
    }
    found = upgraded(node, {**docker("30.0.0"), guest_reads.INFO: WITHOUT})
    assert troubles(found) == []
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
    assert troubles(found) == []
    (said,) = [each for each in found.unseen if each.what.startswith("what apt would install")]
    assert why in said.why
    assert ("on the node" if where == "node" else "in the container") in said.what
    assert found.exit_code == 3


def test_old_lists_hide_no_breakage_that_they_show() -> None:
    old = f"now {NOW}\nasked {NOW - 30 * 86400}\nlists 4\n"
    found = upgraded({}, {INSTALLED: OLDER, PLAN: LATER, upgrade_reads.LISTS: old})
    assert troubles(found) == ["upgrade-runc-reopen"]
    assert found.unseen
    assert found.exit_code == 1


def test_list_without_a_date_and_a_clock_that_was_set_back_are_no_reason_to_doubt() -> None:
    odd = f"now {NOW}\nasked {NOW + 99999}\nlists 1\nValid-Until: never\n"
    found = upgraded({upgrade_reads.LISTS: odd}, {INSTALLED: DEBIAN})
    assert (found.unseen, found.exit_code) == ((), 0)


def test_container_that_does_not_run_is_told_and_the_node_is_judged() -> None:
    node: dict[Read[Any], Raw] = {PLAN: plan("-lxc 1:6.0.4-4+deb13u3")}
    found = upgraded(node, runs=False)
    assert troubles(found) == ["upgrade-removes"]
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


def test_what_is_installed_holds_the_packages_of_the_table_alone() -> None:
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
    assert troubles(found) == ["upgrade-kernel-unix-sockets"]


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


def test_examination_takes_one_round_trip_to_each_machine() -> None:
    node, inside = Asked(), Counted()
    upgrade.examine(Runtime(node, inside), CTID)
    assert (len(node.trips), len(inside.trips)) == (1, 1)


class Asked(Ours):
    """As Ours, whose first answers are the configuration and the state."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        done = super().run(argv, stdin=stdin, timeout=timeout)
        if argv[-1] == "at once":
            number = argv[2].count("\none timeout ")
            rest = answer_line() * (number - 2)
            return CommandResult(done.argv, 0, done.stdout + rest, b"", self.machine, 0.0, 0.0)
        return done


@pytest.mark.parametrize("state", ["STOPPED", "FROZEN"])
def test_container_that_would_not_answer_is_not_asked(state: str) -> None:
    node, inside = Asked(state), Counted()
    found = upgrade.examine(Runtime(node, inside), CTID)
    assert inside.trips == []
    assert found.exit_code == 3


def test_container_that_does_not_exist_cannot_be_asked() -> None:
    with pytest.raises(FactError, match=r"there is no container 950"):
        upgrade.examine(Runtime(Plain(config=None), Counted()), CTID)


def test_connection_that_is_gone_ends_the_examination() -> None:
    class Gone(Counted):
        def run(
            self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
        ) -> CommandResult:
            raise Unreachable(f"no connection for {argv[0]}")

    with pytest.raises(Unreachable):
        upgrade.examine(Runtime(Asked(), Gone()), CTID)


def test_lists_of_the_doubles_are_current() -> None:
    assert upgrade_reads.LISTS.parse(answered(LISTS)).doubt == ""
