"""The profile we ship, as far as it can be judged without a kernel: by AppArmor's own parser."""

import re
import shutil
import subprocess

from remediation import desired

TEXT = desired.content(desired.PROFILE)
PARSER = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin:/bin")


def parse(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    assert PARSER, "apparmor_parser is missing: apt-get install apparmor"
    argv = [PARSER, "--skip-kernel-load", "--skip-cache", *options]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=False)


def test_it_compiles_without_a_warning() -> None:
    done = parse(TEXT)
    assert done.returncode == 0, done.stderr
    assert not re.search("warning|error", done.stderr, re.IGNORECASE), done.stderr


def test_its_name_is_one_that_lxc_may_enter() -> None:
    assert parse(TEXT, "--names").stdout.split() == [desired.PROFILE]
    assert desired.PROFILE.startswith("lxc-")


def rules() -> list[str]:
    return [line.strip() for line in TEXT.splitlines() if line.strip() and "#" not in line[:3]]


def test_no_rule_allows_every_mount() -> None:
    assert rules()
    assert not {"mount,", "allow mount,", "all,"} & set(rules())


def test_it_does_not_take_over_the_denies_that_stop_runc() -> None:
    includes = [line for line in TEXT.splitlines() if re.match(r"\s*#?include", line)]
    assert [line.split()[-1] for line in includes] == [
        "<tunables/global>",
        "<local/lxc-phoenix-v2>",
    ]
