"""The profile we ship, as far as it can be judged without a kernel: by AppArmor's own parser."""

import re

from remediation import desired
from tests.doubles.apparmor.apparmor_parser import parse_profile

TEXT = desired.profile().decode()


def test_it_compiles_without_a_warning() -> None:
    done = parse_profile(TEXT)
    assert done.returncode == 0, done.stderr
    assert not re.search("warning|error", done.stderr, re.IGNORECASE), done.stderr


def test_its_name_is_one_that_lxc_may_enter() -> None:
    assert parse_profile(TEXT, "--names").stdout.split() == [desired.PROFILE]
    assert desired.PROFILE.startswith("lxc-")


def test_no_rule_allows_every_mount() -> None:
    rules = {line.strip() for line in TEXT.splitlines()}
    assert "mount fstype=fuse -> /var/lib/docker/fuse-overlayfs/*/merged/," in rules
    assert not {"mount,", "allow mount,", "all,"} & rules


def test_it_does_not_take_over_the_denies_that_stop_runc() -> None:
    includes = [line for line in TEXT.splitlines() if re.match(r"\s*#?include", line)]
    assert [line.split()[-1] for line in includes] == [
        "<tunables/global>",
        "<local/lxc-phoenix-v2>",
    ]
