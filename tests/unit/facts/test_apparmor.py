"""What the kernel holds and who runs under it, read from a node that may not tell."""

import shlex
from contextlib import nullcontext

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import apparmor
from docker_lxc_gate.machines.result import CommandFailed
from tests.doubles.canned import Answer, Machine
from tests.doubles.naming import naming

PROFILES = "/sys/kernel/security/apparmor/profiles"
POLICY = "/sys/kernel/security/apparmor/policy/profiles"
PLACE = rf"{POLICY}/lxc-phoenix-v2\.[0-9]+"
FIND = shlex.join(
    [
        *("find", POLICY, "-maxdepth", "2", "-regextype", "posix-extended"),
        *("(", "-regex", PLACE, "-printf", "%f\\n", ")"),
        *("-o", "-regex", f"{PLACE}/raw_sha256", "-exec", "grep", "-H", "", "{}", ";"),
    ]
)
COMPILE = "apparmor_parser -S -K /etc/apparmor.d/lxc-phoenix-v2"
CURRENT = "/proc/7/attr/apparmor/current"


def test_loaded_profiles_are_returned_with_their_modes() -> None:
    text = "lxc-phoenix-v2 (enforce)\n/usr/bin/man (complain)\na b//c (unconfined)\nnonsense\n"
    assert apparmor.loaded_profiles(Machine({PROFILES: text})) == {
        "lxc-phoenix-v2": "enforce",
        "/usr/bin/man": "complain",
        "a b//c": "unconfined",
    }
    forged = Machine({PROFILES: "a (complain)\n:of-950://x\na (enforce)\nb (enforce)\n"})
    assert apparmor.loaded_profiles(forged)["a"] == "complain"
    with naming(FactError, "AppArmor", "pve1"):
        apparmor.loaded_profiles(Machine({PROFILES: None}))


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("x.3\n/p/x.3/raw_sha256:abc\n", "abc"),
        ("x.9\n/p/x.9/raw_sha256:abc\nx.10\n/p/x.10/raw_sha256:def\n", "def"),
        ("/p/x.10/raw_sha256:def\nx.9\n/p/x.9/raw_sha256:abc\nx.10\n", "def"),
        ("lxc-phoenix-v2.3\n", FactError),
        ((1, "", "find: no"), CommandFailed),
    ],
)
def test_loaded_policy_is_the_hash_of_the_newest(
    answer: Answer, found: str | type[Exception]
) -> None:
    with nullcontext() if isinstance(found, str) else pytest.raises(found):
        assert Machine({}, {FIND: answer}).ask(apparmor.loaded_policy("lxc-phoenix-v2")) == found


def test_label_of_a_process_is_its_or_an_error() -> None:
    assert apparmor.label(Machine({CURRENT: "x (enforce)\n"}), 7) == "x (enforce)"
    for absent in (None, ""):
        with naming(FactError, "process 7", "pve1"):
            apparmor.label(Machine({CURRENT: absent}), 7)
