"""Whether a deny rule forbids a mount: as a kernel decides it with the compiled policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from facts.audit.audit_records import parse
from facts.denial import profile_text
from facts.denial.deny_rules import forbidding_rules
from tests.doubles.apparmor.compiled_policy import allows_mount, allows_umount, policy_of

if TYPE_CHECKING:
    from pathlib import Path

DENIED = 'apparmor="DENIED" profile="p" class="mount" '
RULES = """\
deny mount
audit deny mount -> /[ab]/
deny mount fstype=ext4
deny mount fstype=(ext4, xfs)
deny mount fstype=fuse*
deny mount fstype=*
deny mount fstype="ext4"
deny mount fstype=ext4 options in (ro)
deny mount fstype=tmpfs options=(rw,nosuid,nodev) tmpfs -> /a/
deny mount options=(rw,nosuid) fstype=tmpfs
deny mount options=(rw)
deny mount options=(ro)
deny mount options=(ro, noatime) -> /**/
deny mount options=ro /dev/sda1 -> /a/
deny mount options in (rw,nosuid,nodev)
deny mount options in (rw,bind,rbind,nosuid) -> /a/
deny mount options in (nodev,rprivate) -> /**
deny mount options=bind
deny mount options=(rw,bind)
deny mount options=(nosuid,bind)
deny mount options=(rbind)
deny mount options=move
deny mount options in (move) fstype=*
deny mount options=(rw,rslave) -> /**
deny mount options=(rw,make-rslave) -> /**
deny mount options=(rw, make-private)
deny mount options=remount
deny mount options=(ro,remount,bind) -> /a/
deny mount -> /a/
deny mount -> /a/**
deny mount -> /a{,/**}
deny mount -> /{a,b}/
deny mount -> /?/
deny mount /s/
deny mount /s/ -> /a/
deny mount /dev/** -> /**
deny remount
deny remount /a/
deny remount options=ro /a/
deny remount options in (ro,nosuid)
deny umount
deny umount /a/
deny umount /a/**
""".splitlines()
#: Where, what, of which type, and how it was to be mounted.
ATTEMPTS = [
    *(("/a/", "", "", f"rw, {change}") for change in ("slave", "rslave", "private", "rshared")),
    *(("/a/", "/s/", "", f"rw, {flag}") for flag in ("bind", "rbind", "move")),
    *(("/a/", "", "", flags) for flags in ("ro, remount", "rw, nosuid, remount")),
    ("/a/", "", "", "ro, remount, bind"),
    ("/a/", "tmpfs", "tmpfs", "rw, nosuid"),
    ("/a/", "tmpfs", "tmpfs", "rw, nosuid, nodev"),
    ("/a/", "/dev/sda1", "ext4", "ro"),
    ("/a/", "/dev/sda1", "ext4", "rw"),
    ("/b/", "/dev/sda1", "ext4", "rw"),
    ("/a/b/", "x", "fuse.x", "rw, nosuid"),
    ("/c/", "x", "xfs", "ro, noatime"),
    ("/", "/s/", "", "rw, bind"),
]


@pytest.mark.parametrize("rule", RULES)
def test_rule_forbids_what_the_kernel_refuses_because_of_it(tmp_path: Path, rule: str) -> None:
    kernel = policy_of(f"mount,\numount,\nremount,\n{rule},")
    (tmp_path / "p").write_text(f"profile p {{\n  {rule},\n}}\n")
    policy = profile_text.read(tmp_path / "p", [])

    def forbidden(operation: str, **fields: str) -> bool:
        words = " ".join(f'{key}="{value}"' for key, value in fields.items() if value)
        (denial,) = parse(f'{DENIED}operation="{operation}" {words}')
        return bool(forbidding_rules(policy, denial.fields))

    for name, source, fstype, flags in ATTEMPTS:
        said = forbidden("mount", name=name, srcname=source, fstype=fstype, flags=flags)
        allowed = allows_mount(kernel, name, source, fstype, flags)
        assert said is not allowed, (name, source, fstype, flags)
    for name in ("/a/", "/a/b/", "/c/"):
        assert forbidden("umount", name=name) is not allows_umount(kernel, name), name
