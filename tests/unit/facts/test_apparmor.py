"""What the kernel holds and who runs under it, read from a node that may not tell."""

from __future__ import annotations

import hashlib
import shlex

import pytest

from facts import apparmor
from targets.errors import CommandFailed, FactError
from tests.doubles.canned import Answer, Machine

PROFILES = "/sys/kernel/security/apparmor/profiles"
POLICY = "/sys/kernel/security/apparmor/policy/profiles"
PLACE = rf"{POLICY}/lxc\-phoenix\-v2\.[0-9]+"
FIND = shlex.join(
    [
        *("find", POLICY, "-maxdepth", "2", "-regextype", "posix-extended"),
        *("(", "-regex", PLACE, "-printf", "%f\\n", ")"),
        *("-o", "-regex", f"{PLACE}/raw_sha256", "-exec", "grep", "-H", "", "{}", ";"),
    ]
)
COMPILE = "apparmor_parser -S -K /etc/apparmor.d/lxc-phoenix-v2"
CURRENT = "/proc/7/attr/apparmor/current"
OLDER = "/proc/7/attr/current"


def test_profiles_and_their_modes() -> None:
    text = "lxc-phoenix-v2 (enforce)\n/usr/bin/man (complain)\na b//c (unconfined)\nnonsense\n"
    assert apparmor.loaded_profiles(Machine({PROFILES: text})) == {
        "lxc-phoenix-v2": "enforce",
        "/usr/bin/man": "complain",
        "a b//c": "unconfined",
    }
    with pytest.raises(FactError, match="AppArmor is not enabled in the kernel of pve1"):
        apparmor.loaded_profiles(Machine({PROFILES: None}))


@pytest.mark.parametrize(
    ("answer", "digest"),
    [
        ("", ""),
        ("x.3\n/p/x.3/raw_sha256:abc\n", "abc"),
        ("x.9\n/p/x.9/raw_sha256:abc\nx.10\n/p/x.10/raw_sha256:def\n", "def"),
        ("/p/x.10/raw_sha256:def\nx.9\n/p/x.9/raw_sha256:abc\nx.10\n", "def"),
    ],
)
def test_the_hash_of_what_is_loaded(answer: str, digest: str) -> None:
    assert apparmor.loaded_policy(Machine({}, {FIND: answer}), "lxc-phoenix-v2") == digest


@pytest.mark.parametrize(
    ("answer", "message"),
    [("lxc-phoenix-v2.3\n", "does not export its policy"), ((1, "", "find: no"), "find: no")],
)
def test_a_hash_that_cannot_be_read(answer: Answer, message: str) -> None:
    with pytest.raises((FactError, CommandFailed), match=message):
        apparmor.loaded_policy(Machine({}, {FIND: answer}), "lxc-phoenix-v2")


def test_the_hash_of_what_a_file_compiles_to() -> None:
    path = "/etc/apparmor.d/lxc-phoenix-v2"
    found = apparmor.compiled_policy(Machine({}, {COMPILE: "binary"}), path)
    assert found == hashlib.sha256(b"binary").hexdigest()
    with pytest.raises(CommandFailed, match="line 3"):
        apparmor.compiled_policy(Machine({}, {COMPILE: (1, "", "error in line 3")}), path)


@pytest.mark.parametrize(
    ("current", "older"),
    [("x (enforce)\n", "y"), (None, "x (enforce)\n"), ("", "x (enforce)\n")],
)
def test_a_label(current: str | None, older: str) -> None:
    assert apparmor.label(Machine({CURRENT: current, OLDER: older}), 7) == "x (enforce)"


def test_a_label_that_may_not_be_read_is_asked_for_elsewhere() -> None:
    refused = (1, "", "cat: Invalid argument")
    node = Machine({OLDER: "x (enforce)"}, {f"env LC_ALL=C cat -- {CURRENT}": refused})
    assert apparmor.label(node, 7) == "x (enforce)"
    with pytest.raises(FactError, match="label of process 7 on pve1"):
        apparmor.label(Machine({CURRENT: None, OLDER: None}), 7)
