"""The rule that is advised allows what was denied, and nothing that its name was made for."""

from __future__ import annotations

import pytest

from facts.audit_records import Denial, parse
from facts.smallest_rule import smallest_rule

AVC = 'apparmor="DENIED" profile="lxc-phoenix-v2" pid=7 '
MOUNT = (
    'operation="mount" class="mount" info="failed flags match" error=-13 '
    'name="/var/lib/docker/fuse-overlayfs/ab/merged/" comm="dockerd" flags="rw, rbind"'
)


def one(line: str) -> Denial:
    (denial,) = parse(line)
    return denial


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        (MOUNT, "mount options=(rw,rbind) -> /var/lib/docker/fuse-overlayfs/ab/merged/,"),
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
def test_smallest_rule_of_each_kind_of_denial_allows_that_alone(record: str, rule: str) -> None:
    assert smallest_rule(one(AVC + record)).startswith(rule)


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
    assert smallest_rule(denial).startswith(rule)
    assert "\n" not in smallest_rule(denial) + denial.summary
