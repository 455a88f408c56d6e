"""Reading denials, attributing them, and refusing to call an unwatched window quiet."""

from __future__ import annotations

import time

import pytest

from facts import audit_window
from tests.doubles.scripted import Scripted

#: As auditd and the kernel write them on Debian 13 (kernel 6.12).
MOUNT = (
    'type=AVC msg=audit(1795535708.438:588): apparmor="DENIED" operation="mount" class="mount" '
    'info="failed flags match" error=-13 profile="lxc-phoenix-v2" '
    'name="/var/lib/docker/fuse-overlayfs/ab/merged/" pid=1985 comm="dockerd" '
    'flags="rw, rbind"'
)
HEX = MOUNT.replace('comm="dockerd"', "comm=612062").replace("AVC", "1400")


def one(line: str) -> audit_window.Denial:
    (denial,) = audit_window.parse(f'noise\n{line}\ntype=AVC apparmor="ALLOWED" x\n')
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
    assert audit_window.smallest_rule(one(MOUNT)) == expected


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
    assert audit_window.smallest_rule(one(AVC + record)).startswith(rule)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ('"/srv/**"', r"/srv/\*\* w,"),
        ("2F612C206D6F756E74", '"/a, mount" w,'),
        ("2F612072772C0A206D6F756E742C", "no rule, since no profile can name it"),
        ("2F611B5B324A", "no rule, since no profile can name it"),
    ],
    ids=["a pattern", "the end of a rule", "another line", "an escape sequence"],
)
def test_smallest_rule_of_a_name_made_for_it_stands_for_that_name_alone(
    name: str, rule: str
) -> None:
    denial = one(f'{AVC}operation="mknod" class="file" name={name} denied_mask="w"')
    assert audit_window.smallest_rule(denial).startswith(rule)
    assert "\n" not in audit_window.smallest_rule(denial) + denial.summary


def test_the_last_denials_under_a_profile_are_found_without_a_window() -> None:
    other = MOUNT.replace("lxc-phoenix-v2", "lxc-other")
    ours = MOUNT.replace("/var/lib/docker/fuse-overlayfs/ab/merged/", f"canary{'0a' * 8}profile")
    log = f"{other}\n{MOUNT}\nnoise\n{ours}\n".encode()
    node = Scripted({("sh", "-c", audit_window._RECENT): (0, log, b"")})
    (found,) = audit_window.recent(node, "lxc-phoenix-v2")
    assert found.line == MOUNT


def test_parse_of_long_lines_takes_no_time() -> None:
    """200 KB without an equals sign, with nothing but quotes, of keys, of a number."""
    head = 'type=AVC apparmor="DENIED" '
    for tail in ("x" * 200_000, 'a="' * 70_000, "k=" * 100_000, "lxc-" * 50_000, "9" * 200_000):
        begun = time.monotonic()
        (found,) = audit_window.parse(head + tail)
        assert audit_window._serial(found)
        assert len(found.line) <= audit_window._LONGEST_RECORD
        audit_window._restarts(tail)
        audit_window._reconfigures(f"changed {tail}", auditd=True)
        audit_window._reconfigures(f"changed op=add_rule {tail}", auditd=True)
        assert time.monotonic() - begun < 1
