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
