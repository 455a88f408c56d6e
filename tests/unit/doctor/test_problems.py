"""Each problem is named where it is, with its cause and fix; a healthy container has none."""

from dataclasses import replace
from typing import Any

import pytest

from docker_lxc_gate.doctor import guest_reads, messages, node_reads
from docker_lxc_gate.doctor.examinations import ownership, storage
from docker_lxc_gate.doctor.examine import diagnose
from docker_lxc_gate.doctor.guest_reads import (
    CONTAINERS,
    DEVICES,
    FAILED,
    HELD,
    OWN_APPARMOR,
    RUNC,
    SETTINGS,
    SYSCTLS,
    WITH_IMAGES,
)
from docker_lxc_gate.doctor.node_reads import MODULES, VERSIONS, Confined
from docker_lxc_gate.doctor.runc_fix import has_fix
from docker_lxc_gate.facts import apparmor
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.lint.finding import Severity
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.runtime.pct import IN_CONTROL
from tests.doubles.patient import (
    CONFIG,
    CTID,
    DATA,
    DOWN,
    GENERATED,
    INFO,
    MAP,
    MOUNTS,
    NAT,
    OF_DATA,
    PROFILE,
    REOPEN,
    UNIT,
    Raw,
    advice,
    case,
    confined,
    container,
    diagnosis,
    first,
    problems,
)

OVERLAY = INFO.replace("fuse-overlayfs", "overlay2")
STARTS_NOT = 'level=fatal msg="Error starting daemon: disk full"'
IDS, CONFINED = node_reads.id_maps(CTID), node_reads.confined(CTID)
STATE, MOUNTED, LOG = Runtime.lxc_state(CTID), node_reads.mounts(CTID), messages.READ
#: What is answered, by what was asked.
Answers = dict[Read[Any], Raw]
OF_ANOTHER: Answers = {OF_DATA[0]: "1000 1000\n", OF_DATA[1]: "65534 65534\nno\n"}
BASED = "profile lxc-mine {\n  include <abstractions/lxc/container-base>\n}\n"
BASE = "  deny /sys/[^fdck]*{,/**} wklx,\n"
OWN = confined("lxc-mine (enforce)", BASED, BASE)
DEFAULT = (
    "AppArmor enabled on system but the docker-default profile could not be loaded: running "
    "'/usr/sbin/apparmor_parser -Kr /var/lib/docker/tmp/docker-default1' failed"
)
UNCHECKED = (
    "Could not check if docker-default AppArmor profile was loaded: open "
    "/sys/kernel/security/apparmor/profiles: permission denied"
)


REFUSED = "failed to start daemon: network controller: refused"
FORWARDING = (
    "failed to start daemon: Error initializing network controller: IPv4 forwarding is disabled: "
    "check your host's firewalling and set sysctl net.ipv4.ip_forward=1"
)


def binding(source: str, *, writes: bool = True) -> str:
    return container(Mounts=[{"Type": "bind", "Source": source, "RW": writes}])


WITH_TUN = container(Devices=[{"PathOnHost": "/dev/net/tun"}])
#: What is answered where something is wrong, and the problem that is named.
BAD: list[tuple[Answers, str, str]] = [
    ({IDS: f"0 100000 1000\n1001 101001 64535\n==\n{MAP}"}, "id-map-hole", "user id 1000"),
    ({IDS: f"{MAP}==\n0 100000 44\n44 44 1\n45 100045 63\n"}, "id-map-hole", "108 to 655"),
    ({CONTAINERS: container(Error=REOPEN)}, "runc-reopen-refused", "runc 1.3.6"),
    ({CONFINED: confined(GENERATED, BASE)}, "runc-reopen-refused", "denies /sys"),
    ({LOG: REOPEN}, "runc-reopen-refused", "reopen fd 8"),
    ({CONFINED: OWN}, "runc-reopen-refused", "denies /sys"),
    ({CONTAINERS: container(Error=DEFAULT)}, "docker-default-not-loaded", "apparmor_parser"),
    (
        {CONTAINERS: container(Error=UNCHECKED), LOG: UNCHECKED},
        "docker-default-not-loaded",
        "apparmor/profiles: permission denied",
    ),
    ({IN_CONTROL: "555\n"}, "node-without-quorum", "/etc/pve is read-only"),
    ({CONFINED: confined("unconfined")}, "container-runs-unconfined", "unconfined"),
    ({LOG: NAT, guest_reads.UNIT: DOWN}, "kernel-module-missing", "iptable_nat"),
    (
        {LOG: "set environment variable DOCKER_IGNORE_BR_NETFILTER_ERROR=1"},
        "kernel-module-missing",
        "br_netfilter",
    ),
    ({LOG: REFUSED, guest_reads.UNIT: DOWN}, "network-refused", "refused"),
    ({SYSCTLS: "ip_forward 0\n"}, "ip-forward-off", "ip_forward is 0"),
    (
        {SYSCTLS: "ip_forward 0\n", SETTINGS: '{"firewall-backend": "nftables"}'},
        "ip-forward-nftables",
        "ip_forward is 0",
    ),
    ({LOG: FORWARDING, guest_reads.UNIT: DOWN}, "ip-forward-nftables", "forwarding is disabled"),
    ({SETTINGS: '{"userland-proxy": false}'}, "route-localnet-off", "docker0"),
    ({CONTAINERS: WITH_TUN}, "tun-missing", "web"),
    ({DEVICES: "65534 65534 660 /dev/dri/renderD128\n"}, "gpu-of-nobody", "/dev/dri/renderD128"),
    (
        {CONTAINERS: container(Error="mount error: bpf_prog_query(BPF_CGROUP_DEVICE) failed")},
        "gpu-cgroup-refused",
        "bpf_prog_query",
    ),
    (
        {FAILED: "Id=x.service\nResult=exit-code\nExecMainStatus=226\n"},
        "units-refused",
        "x.service (NAMESPACE)",
    ),
    ({guest_reads.UNIT: DOWN, LOG: STARTS_NOT}, "docker-down", "disk full"),
    ({guest_reads.INFO: (5, "", "no answer within 20 s")}, "docker-mute", "20 s"),
    ({guest_reads.INFO: '{"Driver": 7}'}, "docker-mute", "docker info cannot be read"),
    ({guest_reads.UNIT: "LoadState=not-found\n"}, "docker-absent", "not installed"),
    ({STATE: "FREEZING\n"}, "container-frozen", "FREEZING"),
    ({SETTINGS: "{,", guest_reads.UNIT: DOWN}, "json-syntax", "daemon.json"),
]
GENERATES = CONFIG.replace("lxc.apparmor.profile: lxc-phoenix-v2\n", "")
MASKED = "lxc.mount.entry: /dev/null sys/module/apparmor/parameters/enabled none bind 0 0\n"
HIDDEN: Answers = {CONFINED: confined(GENERATED), OWN_APPARMOR: "parser\nhidden\n"}
#: As above, of another configuration.
BAD_CONFIG: list[tuple[Answers, str, str, str]] = [
    ({CONFINED: confined(GENERATED)}, "container-apparmor-hidden", "/dev/null", GENERATES + MASKED),
    (HIDDEN, "apparmor-parser-hidden", "is installed", GENERATES),
    (OF_ANOTHER | {CONTAINERS: binding("/data/www")}, "bind-mount-of-nobody", "user 1000", DATA),
    ({}, "nesting-off", "nesting=1", CONFIG.replace("nesting=1,", "")),
    ({}, "container-mount-entry-cut", "/dev/fuse", f"{CONFIG}lxc.mount.entry: /dev/fuse\n"),
    # what the next start will do
    ({apparmor.PROFILES: "lxc-x (enforce)\n"}, "next-start-fails", "lxc-phoenix-v2", CONFIG),
    ({}, "next-start-loses", "fuse", f"{CONFIG}[pve:pending]\nfeatures: nesting=1\n"),
    ({}, "next-start-loses", "fuse and nesting", f"{CONFIG}[pve:pending]\ndelete: features\n"),
]


#: What looks like a problem, and is none.
HEALTHY: list[Answers] = [
    {},
    {IDS: f"0 0 4294967295\n==\n{MAP}"},
    {IDS: f"0 100000 1000\n1000 1000 1\n1001 101001 64535\n==\n{MAP}"},
    {CONFINED: OWN, RUNC: "runc version 1.1.15+ds1\n"},
    {CONFINED: confined("lxc-mine (enforce)", BASED, "deny /proc/kcore rwklx,\n")},
    # as LXC 7.0 generates it with nesting
    {CONFINED: confined(GENERATED, "  deny @{PROC}/sys/fs/[^b]*{,/**} wklx,\n", BASE)},
    # fixed: another container was started since
    {
        CONTAINERS: container(Error=REOPEN)
        + container(Name="/b", Running=True, StartedAt="2026-11-26T11:00:00Z")
    },
    {LOG: DEFAULT, OWN_APPARMOR: "parser\n"},
    {LOG: NAT, MODULES: "iptable_nat\n"},
    {LOG: "Running modprobe bridge br_netfilter failed with message: not found"},
    {LOG: NAT.replace("iptable", "ip6table")},
    {SYSCTLS: "ip_forward 0\n", SETTINGS: '{"ip-forward": false}'},
    {SYSCTLS: "ip_forward 0\n", SETTINGS: '\ufeff{"ip-forward": false}'},  # a byte order mark
    {SYSCTLS: "ip_forward 0\n", guest_reads.UNIT: UNIT.replace("-H fd://", "-H x --bridge=none")},
    {CONTAINERS: WITH_TUN, DEVICES: "0 0 666 /dev/net/tun\n"},
    {DEVICES: "65534 65534 666 /dev/nvidia0\n0 0 600 /dev/kfd\n"},
    {DEVICES: "65534 104 660 /dev/dri/renderD128\n"},
    {DEVICES: "65534 65534 660 /dev/dri/card0\n"},
    {FAILED: "Id=sys-kernel-config.mount\nResult=exit-code\n"},
]
#: As above, of another configuration.
HEALTHY_CONFIG: list[tuple[Answers, str]] = [
    ({}, f"{CONFIG}[pve:pending]\nmemory: 4096\n"),
    ({}, f"{CONFIG}[pve:pending]\nfeatures: nesting=1,fuse=1\n"),
    ({}, f"{CONFIG}[before]\nfeatures: nesting=0\nlxc.apparmor.profile: lxc-gone\n"),
    ({guest_reads.INFO: OVERLAY}, f"{CONFIG}[pve:pending]\nfeatures: nesting=1\n"),
    ({apparmor.PROFILES: (1, "", "No such file or directory")}, CONFIG),
    ({CONFINED: confined(GENERATED)}, GENERATES),
    (HIDDEN | {OWN_APPARMOR: "parser\n"}, GENERATES),
    ({OWN_APPARMOR: "parser\nhidden\n"}, CONFIG + MASKED),  # Docker could load none anyway
    ({OF_DATA[0]: "101000 101000\n", OF_DATA[1]: "1000 1000\nyes\n"}, DATA),
    # read-only data of somebody else
    (OF_ANOTHER | {OF_DATA[0]: "0 0\n", CONTAINERS: binding("/data", writes=False)}, DATA),
]


@pytest.mark.parametrize(
    ("said", "problem", "word", "config"),
    [
        *((*row, CONFIG) for row in BAD),
        *BAD_CONFIG,
        *((said, "", "", CONFIG) for said in HEALTHY),
        *((said, "", "", config) for said, config in HEALTHY_CONFIG),
    ],
)
def test_problem_is_alone_with_a_cause(said: Answers, problem: str, word: str, config: str) -> None:
    found = diagnosis(said, config=config)
    assert problems(found) == [problem] * bool(problem)
    assert word in (found.problems[0].cause if problem else "")
    assert problem or found.unseen == ()
    assert found.exit_code == bool(problem)


#: An answer that cannot be read, and what is then not known.
UNREAD: list[tuple[Read[Any], str]] = [
    (IDS, "whether every id is mapped"),
    (CONFINED, "whether the profile refuses what runc opens"),
    (LOG, "whether the profile refuses what runc opens"),
    (LOG, "whether the node lacks a module"),
    (SYSCTLS, "whether the container forwards packets"),
    (DEVICES, "whether a graphics device can be opened"),
    (LOG, "what else Docker said"),
    (FAILED, "whether units of the guest are refused"),
    (guest_reads.UNIT, "whether Docker runs"),
    (SETTINGS, "what is wrong in Docker's settings"),
    (STATE, "whether the container runs"),
]


@pytest.mark.parametrize(("read", "what"), UNREAD)
def test_answer_that_cannot_be_read_is_named_as_not_seen(read: Read[Any], what: str) -> None:
    found = diagnosis({read: (9, "", "broken\x1b")})
    assert any(what in each.what for each in found.unseen), found
    assert found.exit_code == 3


@pytest.mark.parametrize("read", [WITH_IMAGES, CONTAINERS, MOUNTED])
def test_advice_that_cannot_be_given_leaves_the_exit_code(read: Read[Any]) -> None:
    found = diagnosis({read: (9, "", "broken")})
    assert problems(found) == []


def test_stopped_container_is_named_with_what_keeps_it_and_what_was_not_seen() -> None:
    gone = (4, "", "container 950 does not run")
    said: Answers = {STATE: "STOPPED\n", **dict.fromkeys((IDS, CONFINED, MOUNTED), gone)}
    cut = diagnosis(said, config=f"{CONFIG}lxc.mount.entry: /dev/fuse\n")
    assert problems(cut) == ["container-mount-entry-cut"]
    other = diagnosis(said, config=f"{CONFIG}mp9: /srv\n")  # it starts, without the mount point
    assert sorted(problems(other)) == ["container-stopped", "container-value-invalid"]
    found = diagnosis(said)
    assert problems(found) == ["container-stopped"]
    assert "pct start 950" in found.problems[0].fix
    assert {each.why for each in found.unseen} == {"container 950 does not run"}
    found = diagnose(replace(case(said), start_obstacle="the kernel lacks lxc-x"))
    assert problems(found) == ["container-stopped"]
    assert "cannot start: the kernel lacks lxc-x" in found.problems[0].cause


def test_problems_seen_come_first_and_advice_last() -> None:
    found = diagnosis({LOG: REOPEN, IDS: f"1 100000 65535\n==\n{MAP}"})
    assert problems(found) == ["runc-reopen-refused", "id-map-hole"]
    weights = [each.severity for each in found.problems]
    assert weights == sorted(weights, key=list(Severity).index)


def test_confinement_of_dockers_containers_is_not_said_while_docker_starts_none() -> None:
    info = secured('["name=seccomp,profile=builtin"]')
    assert "docker-confinement" in advice(diagnosis(info))
    found = diagnosis({**info, LOG: DEFAULT})
    assert problems(found) == ["docker-default-not-loaded"]
    assert "docker-confinement" not in advice(found)


def test_module_is_unknown_where_the_nodes_list_cannot_be_read() -> None:
    found = diagnosis({LOG: NAT, MODULES: (1, "", "no")})
    assert any("module" in each.what for each in found.unseen)


def test_runc_has_the_fix_since_a_release_of_each_series() -> None:
    without = ["1.0.0-rc93", "1.1.15+ds1", "1.2.7", "1.3.2", "1.4.0-rc.2"]
    fixed = ["1.2.8", "1.3.3", "1.3.6", "1.4.0-rc.3", "1.4.0~rc3", "1.4.0", "1.5.0", "2.0.0"]
    assert [each for each in ("", *without, *fixed) if has_fix(each)] == fixed


def test_runc_refusal_is_fixed_as_the_profile_needs() -> None:
    own = diagnosis({CONFINED: confined("lxc-mine (enforce)"), LOG: REOPEN})
    assert "container-base" in own.problems[0].fix
    said: Answers = {CONFINED: confined(GENERATED), LOG: REOPEN}
    plain = diagnosis(said, config="lxc.apparmor.profile = generated\n", pct=False)
    assert "6.0.6 or later" in plain.problems[0].fix
    assert "nesting=1" in diagnosis({**said, VERSIONS: "lxc-pve 7.0.0-2\n"}).problems[0].fix


@pytest.mark.parametrize(
    ("lxc", "fix"),
    [
        ("lxc-pve 7.0.0-2", "your lxc-pve is 7.0.0-2. Restart the container once since that"),
        ("lxc 1:6.0.4-4+deb13u4", "is 1:6.0.4-4+deb13u4. Restart the container once since that"),
        ("lxc 7.0.0", "Restart the container once since"),
        ("lxc-pve 6.0.5-1", "(it is 6.0.5-1) to 6.0.5-2 or later (Proxmox VE 8: 6.0.0-2) first"),
        ("lxc 6.0.4", "(it is 6.0.4) to 6.0.6 or later (Debian 13: 6.0.4-4+deb13u4) first"),
        ("zfs 2", "of an unknown version"),
    ],
)
def test_what_is_left_of_the_cure_says_which_lxc_comes_first(lxc: str, fix: str) -> None:
    said = {**HIDDEN, HELD: "hold containerd.io\n", VERSIONS: f"kernel 7.0\n{lxc}\n"}
    found = {each.id: each for each in diagnosis(said, config=GENERATES + MASKED).problems}
    assert fix in found["runc-held"].fix
    for each in ("container-apparmor-hidden", "apparmor-parser-hidden"):
        assert found[each].fix.startswith("Upgrade lxc") is ("once since" not in fix)
    older = diagnosis({**said, RUNC: "runc version 1.1.15+ds1\n"}, config=GENERATES)
    assert "Upgrade" not in older.problems[0].fix
    assert "docker-confinement" not in found


def test_profile_allows_overlay_by_a_rule_of_its_own() -> None:
    for rule, allowed in (
        ("mount,", True),
        ("mount fstype=overlay -> /**,", True),
        ("mount fstype=(ext4, overlay),", True),
        ("deny mount fstype=overlay,", False),
        ("mount fstype=fuse.fuse-overlayfs -> /**,", False),
    ):
        text = f"profile lxc-mine {{\n  {rule}\n}}\nprofile other {{\n  mount,\n}}\n"
        assert storage.allows_overlay(Confined("lxc-mine (enforce)", text, "")) is allowed, rule


def data_on(mount: str, versions: str, label: str = GENERATED) -> Answers:
    return {
        MOUNTED: f"520 400 7:0 / / rw - {mount}\n",
        VERSIONS: versions,
        CONFINED: confined(label, PROFILE),
    }


def secured(options: str, missing: str = "") -> Answers:
    before = INFO.partition('"SecurityOptions":')[0]
    info = f'{before}"SecurityOptions":{options}}}\n'
    return {guest_reads.INFO: info, OWN_APPARMOR: missing}


def gpu(owned: str, groups: Raw) -> Answers:
    """A graphics device of this user, group and mode in a container with these groups."""
    return {DEVICES: f"{owned} /dev/dri/renderD128\n", guest_reads.GROUPS: groups}


ABOVE = 'failed to Lchown "/x" for UID 197609, GID 197121: lchown /x: invalid argument'
LOOSE = container(Name="/a", Privileged=True) + "".join(
    container(Name=name, AppArmorProfile=profile)
    for name, profile in (("/b", "unconfined"), ("/c", "docker-default"))
)
IMAGE_STORE = INFO.replace(
    '"Backing Filesystem","extfs"', '"driver-type","io.containerd.snapshotter.v1"'
)
ON_ZFS = MOUNTS + "522 520 0:9 / /var/lib/docker rw - zfs tank/d rw\n"
FUSE = f"{MOUNTS}523 520 0:5 / /var/lib/docker/m rw - fuse.fuse-overlayfs fuse-overlayfs rw\n"
LXCFS = f"{MOUNTS}523 520 0:5 / /proc/stat rw - fuse.lxcfs lxcfs rw\n"
#: What is answered, the advice about it, and words in its cause; without words, it is not given.
ADVICE: list[tuple[Answers, str, tuple[str, ...]]] = [
    ({LOG: ABOVE}, "image-above-id-map", ("user 197609",)),
    ({WITH_IMAGES: "fuse-overlayfs\noverlay2\n"}, "images-of-another-driver", ("of overlay2 on",)),
    ({WITH_IMAGES: "fuse-overlayfs\n"}, "images-of-another-driver", ()),
    ({CONTAINERS: LOOSE}, "docker-container-loose", (": a, b",)),
    ({guest_reads.INFO: IMAGE_STORE}, "containerd-image-store", ("28.5.2",)),
    (data_on("ext4 /dev/a rw", "kernel 6.12.57\nzfs \n"), "storage-driver", ("could be mounted",)),
    (data_on("ext4 /dev/a rw", "kernel 5.10.0\nzfs \n"), "storage-driver", ("5.11 is needed",)),
    (data_on("zfs a/x rw", "kernel 6.8\nzfs 2.1.15-pve1\n"), "storage-driver", ("2.2 is needed",)),
    (data_on("xfs /dev/a rw", "kernel 6.8.12\n"), "storage-driver", ("ftype",)),
    (data_on("nfs4 a:/b rw", "kernel 6.8.12\n"), "storage-driver", ("nfs4 is not known",)),
    (data_on("ext4 /dev/a rw", "", "lxc-phoenix-v2 (enforce)"), "storage-driver", ("no rule of",)),
    (data_on("ext4 /dev/a rw", ""), "storage-driver", ("unknown",)),
    ({MOUNTED: ON_ZFS, VERSIONS: "kernel 6.8\nzfs 2.3.1\n"}, "storage-driver", ("on zfs 2.3.1",)),
    ({guest_reads.INFO: OVERLAY}, "storage-driver", ()),
    (
        secured("[]", "parser\n"),
        "docker-confinement",
        ("no AppArmor profile of their own", "no seccomp", "apparmor_parser", "lxc-phoenix-v2 ("),
    ),
    (
        secured('["name=apparmor","name=seccomp,profile=unconfined"]'),
        "docker-confinement",
        ("no seccomp filter",),
    ),
    (
        secured('["name=seccomp,profile=builtin"]', "securityfs\n"),
        "docker-confinement",
        ("have no AppArmor profile of their own (/sys",),
    ),
    (secured("null", "environment\n"), "docker-confinement", ("container=",)),
    ({HELD: "hold containerd.io\ninstall runc\n"}, "runc-held", ("apt holds containerd.io in",)),
    ({HELD: (1, "install runc\n", "no packages found")}, "runc-held", ()),
    ({HELD: "hold runc\n", RUNC: "runc version 1.1.15\n", CONFINED: OWN}, "runc-held", ()),
    ({MOUNTED: FUSE}, "backup-may-hang", ("/var/lib/docker/m",)),
    ({MOUNTED: LXCFS}, "backup-may-hang", ()),
    (gpu("0 104 660", "video:x:44:\nrender:x:992:a\n"), "gpu-of-nobody", ("where render is 992",)),
    (gpu("65534 104 660", "render:x:992:\n"), "gpu-of-nobody", ("where render is 992",)),
    (gpu("0 992 660", "video:x:44:\nrender:x:992:\n"), "gpu-of-nobody", ()),
    (gpu("0 0 660", "video:x:44:\n"), "gpu-of-nobody", ()),  # only root opens it: it may be meant
    (gpu("0 104 666", "video:x:44:\n"), "gpu-of-nobody", ()),
    (gpu("0 104 660", (1, "", "")), "gpu-of-nobody", ()),
]


@pytest.mark.parametrize(("said", "name", "words"), ADVICE)
def test_advice_leaves_the_exit_code(said: Answers, name: str, words: tuple[str, ...]) -> None:
    found = diagnosis(said, config=CONFIG.replace(",fuse=1", ""))
    causes = [each.cause for each in found.problems if each.id == name and each.is_advice]
    assert len(causes) == bool(words)
    assert [word for word in words if word not in causes[0]] == []
    assert found.exit_code == 0


@pytest.mark.parametrize("runs", ["/usr/bin/redis-server --save 60 1", "/sbin/init --x", ""])
def test_container_of_an_oci_image_is_advice(runs: str) -> None:
    found = diagnosis(config=f"{CONFIG}entrypoint: {runs}\n" if runs else CONFIG)
    assert ("container-application" in advice(found)) is ("redis" in runs)
    assert found.exit_code == 0


def test_frozen_container_of_a_backup_names_its_lock() -> None:
    found = diagnosis({STATE: "FROZEN\n"}, config=f"lock: backup\n{CONFIG}")
    assert "'backup'" in found.problems[0].cause
    assert "lxc-unfreeze -n 950" in found.problems[0].fix
    assert found.problems[0].id == "container-frozen"


def test_log_that_was_not_read_to_its_end_is_named_as_not_seen() -> None:
    found = diagnose(replace(case(), unread="there is more"))
    assert [each.why for each in found.unseen] == ["there is more"]
    assert found.exit_code == 0


def test_device_whose_path_a_guest_made_up_gets_into_no_advice() -> None:
    made_up = ("nvidia/../sda", "dri/render,uid=0", "sda", "nvidia0 /dev/sda")
    rows = "".join(f"65534 65534 660 /dev/{path}\n" for path in (*made_up, "dri/renderD128"))
    found = diagnosis({DEVICES: rows})
    assert problems(found) == ["gpu-of-nobody"]
    assert "/dev/dri/renderD128" in found.problems[0].fix
    rows = "".join(f"65534 65534 660 /dev/nvidia{number}\n" for number in range(5000))
    assert len(problems(diagnosis({DEVICES: rows}))) == 100  # as many as a node has


def test_settings_full_of_mistakes_are_no_more_than_ten_problems() -> None:
    keys = ",".join(f'"a{number}": 1' for number in range(5000))
    named = diagnosis({SETTINGS: f"{{{keys}}}", guest_reads.UNIT: DOWN}).problems
    found = [each for each in named if each.id == "daemon-key-unknown"]
    assert len(found) == 10
    assert found[-1].cause.endswith("; 4990 more in this file: see lint")


def test_key_that_lint_does_not_know_is_advice_while_docker_runs() -> None:
    said = {SETTINGS: '{"of-docker-40": true}'}
    found = diagnosis(said)
    assert problems(found) == []
    cause = first(found, "daemon-key-unknown").cause
    assert cause.endswith("Docker runs, so it is newer, or the file was changed since")
    assert "daemon-key-unknown" in problems(diagnosis(said | {guest_reads.UNIT: DOWN}))


def test_bind_mount_of_nobody_that_nobody_writes_to_is_advice_with_both_ids() -> None:
    found = diagnosis(OF_ANOTHER, config=DATA)
    assert advice(found)[0] == "bind-mount-of-nobody"
    assert "user 1000 and group 1000" in found.problems[0].cause
    assert "65534:65534" in found.problems[0].cause
    assert "chown -R 101000:101000" in found.problems[0].fix


def test_bind_mounts_of_a_configuration_are_directories_of_the_node() -> None:
    config = container_config.parse(
        "/etc/pve/lxc/950.conf",
        "mp0: /a,mp=/x,ro=1\nmp1: local:950/y.raw,mp=/y\nmp2: volume=/b,mp=/z\n"
        "lxc.mount.entry: /dev/fuse dev/fuse none bind,create=file 0 0\n"
        "lxc.mount.entry: /c w none bind,create=dir 0 0\nlxc.mount.entry: /d\n"
        "[before]\nmp3: /e,mp=/v\n",
    )
    assert ownership.binds(config) == {"/x": "/a", "/z": "/b", "/w": "/c"}
