"""Reading denials, attributing them, and refusing to call an unwatched window quiet."""

from __future__ import annotations

import pytest
from scripted import Scripted

from remediation import audit

#: As auditd and the kernel write them on Debian 13 (kernel 6.12).
MOUNT = (
    'type=AVC msg=audit(1795535708.438:588): apparmor="DENIED" operation="mount" class="mount" '
    'info="failed flags match" error=-13 profile="lxc-phoenix-v2" '
    'name="/var/lib/docker/fuse-overlayfs/ab/merged/" pid=1985 comm="dockerd" '
    'flags="rw, rbind"'
)
HEX = MOUNT.replace('comm="dockerd"', "comm=612062").replace("AVC", "1400")
GENERATED = MOUNT.replace('profile="lxc-phoenix-v2"', 'profile="lxc-200_</var/lib/lxc>"')
NAMESPACED = MOUNT.replace(
    'profile="lxc-phoenix-v2"', 'namespace="root//lxc-201_<-var-lib-lxc>" profile="docker-default"'
)


def one(line: str) -> audit.Denial:
    (denial,) = audit.parse(f'noise\n{line}\ntype=AVC apparmor="ALLOWED" x\n')
    return denial


def test_fields_of_a_record() -> None:
    fields = one(MOUNT).fields
    assert fields["operation"] == "mount"
    assert fields["flags"] == "rw, rbind"
    assert fields["pid"] == "1985"
    assert one(HEX).fields["comm"] == "a b"


@pytest.mark.parametrize("key", ["name", "comm", "profile", "srcname", "peer"])
def test_a_value_in_hexadecimal(key: str) -> None:
    assert one(f'apparmor="DENIED" {key}=2F612062').fields[key] == "/a b"
    assert one(f'apparmor="DENIED" {key}=2F6').fields[key] == "2F6"
    assert one('apparmor="DENIED" pid=1985').fields["pid"] == "1985"


def test_a_record_without_a_profile() -> None:
    assert one('apparmor="DENIED" pid=1985').profile == ""


def test_the_smallest_rule_is_said() -> None:
    expected = "mount options=(rw,rbind) -> /var/lib/docker/fuse-overlayfs/ab/merged/,"
    assert audit.smallest_rule(one(MOUNT)) == expected


AVC = 'apparmor="DENIED" profile="lxc-phoenix-v2" pid=7 '


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        (
            (
                'operation="mount" class="mount" info="failed flags match" error=-13 fstype="ext4" '
                'name="/mnt/" srcname="/dev/loop0" flags="ro"'
            ),
            "mount options=(ro) fstype=ext4 /dev/loop0 -> /mnt/,",
        ),
        (
            (
                'operation="mount" class="mount" fstype="fuse.fuse-overlayfs" '
                'srcname="fuse-overlayfs" flags="rw, nosuid, nodev" '
                'name="/var/lib/docker/fuse-overlayfs/ab/merged/"'
            ),
            (
                "mount options=(rw,nosuid,nodev) fstype=fuse.fuse-overlayfs -> "
                "/var/lib/docker/fuse-overlayfs/ab/merged/,"
            ),
        ),
        ('operation="umount" class="mount" name="/mnt/"', "umount /mnt/,"),
        ('operation="pivotroot" class="mount" name="/a/" srcname="/a/"', "pivot_root /a/,"),
        (
            'operation="capable" class="cap" capability=12 capname="net_admin"',
            "capability net_admin,",
        ),
        (
            (
                'operation="create" class="net" family="alg" sock_type="seqpacket" protocol=0 '
                'requested_mask="create" denied_mask="create"'
            ),
            "network alg seqpacket,",
        ),
        (
            'operation="open" class="file" name="/proc/kcore" requested_mask="r" denied_mask="r"',
            "/proc/kcore r,",
        ),
        (
            'operation="ptrace" class="ptrace" denied_mask="read" peer="unconfined"',
            "ptrace (read) peer=unconfined,",
        ),
        ('operation="signal" class="signal" signal=term', "a rule for signal ("),
    ],
)
def test_each_kind_of_denial_has_its_rule(record: str, rule: str) -> None:
    assert audit.smallest_rule(one(AVC + record)).startswith(rule)


def test_the_last_denials_under_a_profile_are_found_without_a_window() -> None:
    other = MOUNT.replace("lxc-phoenix-v2", "lxc-other")
    log = f"{other}\n{MOUNT}\nnoise\n".encode()
    node = Scripted({("sh", "-c", audit._RECENT): (0, log, b"")})
    (found,) = audit.recent(node, "lxc-phoenix-v2")
    assert found.profile == "lxc-phoenix-v2"


def cgroup(content: bytes | None) -> Scripted:
    answer = (0, content, b"") if content is not None else (1, b"", b"No such file or directory")
    return Scripted({("env", "LC_ALL=C", "cat", "--", "/proc/1985/cgroup"): answer})


@pytest.mark.parametrize(
    ("line", "owner"), [(GENERATED, 200), (NAMESPACED, 201)], ids=["generated", "namespaced"]
)
def test_a_generated_profile_names_its_container(line: str, owner: int) -> None:
    assert audit.attribute(Scripted({}), one(line), {}) == owner


@pytest.mark.parametrize(
    ("content", "owner"),
    [
        (b"0::/lxc/950/ns/system.slice/docker.service\n", 950),
        (b"0::/lxc.payload.951/init.scope\n", 951),
        (b"0::/system.slice/auditd.service\n", None),
    ],
)
def test_a_living_process_is_asked_for_its_cgroup(content: bytes, owner: int | None) -> None:
    shared = {950: "lxc-phoenix-v2", 951: "lxc-phoenix-v2"}
    assert audit.attribute(cgroup(content), one(MOUNT), shared) == owner


def test_a_living_process_of_the_node_is_no_containers_whoever_shares_its_profile() -> None:
    node = cgroup(b"0::/system.slice/auditd.service\n")
    assert audit.attribute(node, one(MOUNT), {950: "lxc-phoenix-v2"}) is None


def test_a_record_without_a_process_belongs_to_the_only_user_of_its_profile() -> None:
    record = one('apparmor="DENIED" profile="lxc-phoenix-v2"')
    assert audit.attribute(Scripted({}), record, {950: "lxc-phoenix-v2"}) == 950
    assert audit.attribute(Scripted({}), record, SHARED) is None


def cgroups(**found: bytes) -> Scripted:
    absent = (1, b"", b"No such file or directory")
    answers = {}
    for pid in (1985, 1980, 1970):
        known = found.get(f"p{pid}")
        argv = ("env", "LC_ALL=C", "cat", "--", f"/proc/{pid}/cgroup")
        answers[argv] = (0, known, b"") if known else absent
    return Scripted(answers)


SHARED = {950: "lxc-phoenix-v2", 952: "lxc-phoenix-v2"}
PARENTS = {1985: 1980, 1980: 1970, 1970: 1980}


def test_a_dead_one_belongs_to_its_next_living_ancestor() -> None:
    node = cgroups(p1970=b"0::/lxc/952/ns/system.slice/x.service\n")
    assert audit.attribute(node, one(MOUNT), SHARED, PARENTS) == 952
    assert audit.attribute(node, one(MOUNT), SHARED) is None


def test_who_was_started_from_the_node_belongs_to_the_only_user_of_its_profile() -> None:
    node = cgroups(p1980=b"0::/user.slice/session-1.scope\n")
    assert audit.attribute(node, one(MOUNT), SHARED, PARENTS) is None
    assert audit.attribute(node, one(MOUNT), {950: "lxc-phoenix-v2"}, PARENTS) == 950


def test_ancestors_end_where_numbers_were_used_again() -> None:
    assert audit.attribute(cgroups(), one(MOUNT), SHARED, PARENTS) is None


@pytest.mark.parametrize(
    ("profiles", "owner"),
    [
        ({950: "lxc-phoenix-v2", 951: "generated"}, 950),
        ({950: "lxc-phoenix-v2", 951: "lxc-phoenix-v2"}, None),
        ({}, None),
    ],
)
def test_a_dead_one_belongs_to_the_only_user_of_its_profile(
    profiles: dict[int, str], owner: int | None
) -> None:
    assert audit.attribute(cgroup(None), one(MOUNT), profiles) == owner
