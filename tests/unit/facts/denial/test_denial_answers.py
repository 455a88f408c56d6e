"""What is answered of a denial: the rule that allows it, and nothing that its name was made for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facts.denial.denial_answers import NoRule, rule, smallest_rule, where, who
from tests.doubles.apparmor.apparmor_parser import parse_profile
from tests.doubles.apparmor.denials import denial
from tests.doubles.examples import examples
from tests.doubles.naming import naming

if TYPE_CHECKING:
    from facts.audit.audit_records import Denial


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ('"/srv/**"', r"/srv/\*\* w,"),
        ("2F612C206D6F756E74", '"/a, mount" w,'),
        ("2F612072772C0A206D6F756E742C", "no rule, since no profile can name it"),
        ("2F611B5B324A", "no rule, since no profile can name it"),
    ],
    ids=["a pattern", "the end of a rule", "another line", "an escape sequence"],
)
def test_smallest_rule_of_a_name_made_for_it_stands_for_that_name_alone(
    name: str, expected: str
) -> None:
    denied = denial(f'operation="mknod" class="file" name={name} denied_mask="w"')
    assert smallest_rule(denied).startswith(expected)
    assert "\n" not in smallest_rule(denied) + denied.summary


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        (
            (
                'operation="open" name="x/y" info="Failed name lookup - disconnected path" '
                'denied_mask="r"'
            ),
            "attach_disconnected",
        ),
        ('operation="open" name="/x" info="Failed name lookup - deleted entry"', "mediate_deleted"),
        ('operation="change_onexec" info="label not found" name="x"', "not loaded"),
        ('operation="exec" info="no new privs" name="/x" denied_mask="x"', "no_new_privs"),
        ('operation="profile_load" info="not policy admin" name="x"', "mac_admin"),
        ('operation="userns_create" info="Userns create restricted - failed"', "sysctl"),
        ('operation="mount" name="/x', "cut"),
        ('operation="mount" name="/x"', "flags"),
        ('operation="open" name="x" denied_mask="r"', "path from the root"),
        ('operation="open" name="/x" denied_mask="q"', "but q"),
        ('operation="signal" signal=term', "denied_mask"),
        ('operation="capable" capname="x, mount"', "capname"),
        ('operation="create" family="inet" sock_type="x, mount"', "sock_type"),
        ('operation="create" family="unknown(99)"', "family"),
        ('operation="open" name=2FFF denied_mask="r"', "name it"),
        (
            'operation="exec" info="profile transition not found" name="/x" denied_mask="x"',
            "another profile",
        ),
        ('operation="setrlimit" rlimit=cpu value=1 info="cap_sys_resource"', "sys_resource"),
        ('operation="setrlimit" rlimit=nice value=0', "nice"),
        ('operation="setrlimit" rlimit=cpu value=x', "number"),
        ('operation="umount" name="x"', "path from the root"),
        ('operation="mount" name="/x/" srcname="/y/"', "flags"),
        ('operation="open" class="posix_mqueue" name="q" denied="read"', "path from the root"),
    ],
)
def test_rule_of_what_no_rule_would_allow_names_the_cause(record: str, cause: str) -> None:
    with naming(NoRule, cause):
        rule(denial(record))


@examples(8)
@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF)), min_size=40))
def test_rules_of_any_names_are_rules_of_their_own_for_apparmors_parser(names: list[str]) -> None:
    records = [
        f"{operation} name={('/' + name).encode().hex().upper()}"
        for name in names
        for operation in (
            'operation="open" denied_mask="r"',
            'operation="umount"',
            'operation="mount" flags="rw, bind" srcname="/s"',
            'operation="change_profile"',
        )
    ]
    found = [denial(each) for each in records]
    rules = [said for each in found if (said := _rule_of(each))]
    for said in rules:
        assert said.startswith(("/", '"', "umount ", "mount ", "change_profile "))
    text = "abi <abi/4.0>,\nprofile x {\n" + "".join(f"{said}\n  # end\n" for said in rules) + "}\n"
    assert parse_profile(text).returncode == 0, parse_profile(text).stderr


def _rule_of(denied: Denial) -> str:
    try:
        return rule(denied)
    except NoRule:
        return ""


def test_name_with_a_blank_is_quoted() -> None:
    assert who([]) == "a process"
    assert who(["runc", "a b", "fuse-overlayfs"]) == 'runc, "a b" and fuse-overlayfs'


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"profile": "lxc-phoenix-v2"}, ""),
        ({"profile": "lxc-950_</var/lib/lxc>"}, "lxc.apparmor.raw: RULE"),
        ({"profile": "lxc-container-default-cgns"}, "nesting=1 in features"),
        ({"profile": "lxc-container-default-with-nesting"}, ""),
        (
            {"profile": "docker-default", "namespace": "root//lxc-950_<-var-lib-lxc>"},
            "in docker-default as the container itself loads it",
        ),
        ({}, ""),
    ],
)
def test_where_a_rule_is_written_is_said_where_it_is_no_file_of_the_profile(
    fields: dict[str, str], said: str
) -> None:
    assert said in where(fields)
    assert bool(where(fields)) == bool(said)
