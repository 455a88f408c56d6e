"""What is answered of a denial of each class: in words, by a rule of that name alone; dangers."""

import re
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.facts.denial.denial_answers import answer, danger, rule, smallest_rule, wanted
from docker_lxc_gate.facts.denial.denial_class import NoRule
from docker_lxc_gate.facts.denial.denial_groups import Group, Tally
from tests.doubles.apparmor.apparmor_parser import parse_profile
from tests.doubles.apparmor.denials import LAB, LAB_CONTAINER, LAB_NODE, denial
from tests.doubles.examples import examples
from tests.doubles.naming import naming
from tests.doubles.samples import sample


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ('"/srv/**"', r"/srv/\*\* w,"),
        ('"/a?b#c"', r'"/a\?b#c" w,'),
        ("2F612C206D6F756E74", '"/a, mount" w,'),  # the end of a rule
        ("2F612072772C0A206D6F756E742C", "no rule: no profile can name it"),  # another line
        ("2F611B5B324A", "no rule: no profile can name it"),  # an escape sequence
        ("2F70726F632FC2862F78", "no rule: no profile can name it"),  # a mark of an id
    ],
)
def test_smallest_rule_of_a_crafted_name_is_for_that_name_alone(name: str, expected: str) -> None:
    denied = denial(f'operation="mknod" class="file" name={name} denied_mask="w"')
    assert smallest_rule(denied).startswith(expected)
    assert "\n" not in smallest_rule(denied) + denied.summary


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        ('operation="open" name="/x" info="Failed name lookup - deleted entry"', "mediate_deleted"),
        ('operation="exec" info="no new privs" name="/x" denied_mask="x"', "no_new_privs"),
        ('operation="userns_create" info="Userns create restricted - failed"', "sysctl"),
        ('operation="mount" name="/x', "cut"),
        ('operation="mount" name="/x"', "flags"),
        ('operation="open" name="x" denied_mask="r"', "path from the root"),
        ('operation="open" name="/x" denied_mask="q"', "but q"),
        ('operation="signal" signal=term', "denied_mask"),
        ('operation="capable" capname="x, mount"', "capname"),
        ('operation="open" name=2FFF denied_mask="r"', "name it"),
        (
            'operation="exec" info="profile transition not found" name="/x" denied_mask="x"',
            "another profile",
        ),
        ('operation="setrlimit" rlimit=nice value=0', "nice"),
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
    rules = []
    for record in records:
        with suppress(NoRule):
            rules.append(rule(denial(record)))
    for said in rules:
        assert said.startswith(("/", '"', "umount ", "mount ", "change_profile "))
    text = "abi <abi/4.0>,\nprofile x {\n" + "".join(f"{said}\n  # end\n" for said in rules) + "}\n"
    assert parse_profile(text).returncode == 0, parse_profile(text).stderr


OPEN = 'operation="open" name="/x" denied_mask="r"'
MOUNT = 'operation="mount" name="/m/" fstype="%s" flags="rw"'
INSIDE = ' namespace="root//lxc-950_<-var-lib-lxc>"'
KILLED = 'operation="signal" denied_mask="receive" signal=kill peer="%s"'
SOCKET = 'operation="create" class="net" family="%s" sock_type="%s"'


@pytest.mark.parametrize(
    ("profile", "record", "try_first", "where"),
    [
        ("lxc-phoenix-v2", OPEN, "", ""),
        ("lxc-phoenix-v2", MOUNT % "tmpfs", "does not need this profile", ""),
        ("lxc-950_</var/lib/lxc>", OPEN, "", "lxc.apparmor.raw: RULE"),
        ("lxc-950_</var/lib/lxc>", MOUNT % "tmpfs", "has no nesting", "lxc.apparmor.raw: RULE"),
        ("lxc-container-default-cgns", OPEN, "nesting=1 in features", ""),
        ("docker-default", OPEN, "", "not in the container's profile: docker-default is what"),
        ("docker-default", OPEN + INSIDE, "", "--security-opt apparmor=NAME"),
        ("docker-default", KILLED % "snap.docker.dockerd", "two", "not in the container's"),
        ("docker-default", KILLED % "unconfined", "", "not in the container's"),
        ("docker-default", SOCKET % ("unix", "stream"), "29.4.3", "not in the container's"),
        ("docker-default", SOCKET % ("inet", "raw"), "", "not in the container's"),
        ("rsyslogd", OPEN + INSIDE, "", "in rsyslogd as the container itself loads it"),
        ("/usr/sbin/mysqld", OPEN, "", ""),
    ],
)
def test_answer_of_a_profile_says_what_to_try_first_and_where_the_rule_goes(
    profile: str, record: str, try_first: str, where: str
) -> None:
    found = answer(denial(record, profile))
    assert found.rule
    for told, expected in ((found.try_first, try_first), (found.where, where)):
        assert expected in told
        assert bool(told) == bool(expected)


@pytest.mark.parametrize(
    ("profile", "record", "cause"),
    [
        *(
            ("lxc-950_</var/lib/lxc>", MOUNT % fstype, "mount it on the node")
            for fstype in ("nfs", "nfs4", "cifs", "ext4", "fuseblk", "ceph", "9p", "squashfs")
        ),
        ("rsyslogd", f"{MOUNT % 'nfs'}{INSIDE}", "mount it on the node"),
        *(("lxc-x", MOUNT % fstype, "leave out") for fstype in ("debugfs", "tracefs", "nfsd")),
        *(
            ("lxc-950_</var/lib/lxc>", MOUNT % fstype, "")
            for fstype in ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "ramfs", "overlay")
        ),
        *(
            ("lxc-x", MOUNT % fstype, "")
            for fstype in ("fuse", "fuse.sshfs", "cgroup", "cgroup2", "bpf", "binfmt_misc", "zfs")
        ),
        ("lxc-x", 'operation="mount" name="/m/" srcname="/s/" fstype="nfs" flags="rw, bind"', ""),
        ("/usr/bin/lxc-start", MOUNT % "ext4", ""),
        ("unconfined", 'operation="userns_create" info="Userns create restricted - x"', "Ubuntu"),
        ("unconfined", OPEN, "has no profile"),
    ],
)
def test_answer_without_a_rule_names_the_cause(profile: str, record: str, cause: str) -> None:
    found = answer(denial(record, profile))
    assert cause in found.no_rule
    assert bool(found.no_rule) == bool(cause) != bool(found.rule)
    assert not (found.no_rule and (found.where or found.try_first or found.dangerous))


HEAD = "abi <abi/4.0>,\ninclude <tunables/global>\n"
_LAYER, _BUILT = "3f" * 32, "k1x" * 8 + "z"
#: Records as kernels write them, and the answers; a long warning by its begin. What the lab's
#: kernel recorded is below.
ANSWERS = sample("denials/answers.txt").replace("LAYER", _LAYER).replace("BUILT", _BUILT)


@pytest.mark.parametrize("block", re.split(r"\n(?=\w)", ANSWERS.strip()))
def test_answers_of_each_operation_have_a_rule_that_apparmors_parser_takes(block: str) -> None:
    record, *lines = block.splitlines()
    expected = dict(line.strip().split(": ", 1) for line in lines)
    denied = denial(record)
    assert wanted(denied.fields) == expected["wanted to"]
    warning = danger(denied.fields)
    assert warning.startswith(expected.get("dangerous", ""))
    assert bool(warning) == ("dangerous" in expected)
    if "rule" not in expected:
        with pytest.raises(NoRule):
            rule(denied)
        return
    assert rule(denied) == expected["rule"]
    parsed = parse_profile(f"{HEAD}profile x {{\n  {expected['rule']}\n}}\n")
    assert parsed.returncode == 0, parsed.stderr


PROVED = tomllib.loads(sample("denials/proved.toml"))
RULES: dict[str, str] = PROVED["rules"]
NONE: dict[str, str] = PROVED["none"]
#: A deny forbids it; a queue of messages may be larger with the capability.
BESIDE = {"sysrq-trigger", "mqueue_create"}


def kinds(log: Path) -> list[tuple[str, Group]]:
    """Return the denials, each with the program's name."""
    tally = Tally(lambda *_: None)
    tally.count(log.read_bytes().splitlines())
    shell = {"sh": "file_inherit"}
    named = [(each.denial.fields["comm"], each) for each in tally.kinds()]
    return [(shell.get(name, name), each) for name, each in named]


@pytest.mark.parametrize("log", LAB, ids=lambda log: log.name)
def test_rule_of_each_real_record_is_the_one_that_was_proved(log: Path) -> None:
    found = {name: group for name, group in kinds(log) if name in RULES}
    assert {name: rule(group.denial) for name, group in found.items()} == {
        name: RULES[name] for name in found
    }
    assert all(group.denial.whole and group.readable for group in found.values())
    said = [wanted(group.denial.fields) for name, group in kinds(log) if name not in NONE]
    assert [each for each in said if "the record" in each] == []


def test_real_records_are_of_every_program_and_none_is_lost() -> None:
    assert {name for name, _ in kinds(LAB_NODE)} == RULES.keys() | NONE.keys() | BESIDE
    inside = {name for name, _ in kinds(LAB_CONTAINER)}
    assert RULES.keys() - inside == set()
    for log in LAB:
        records = log.read_bytes().count(b"apparmor=")
        assert sum(group.count for _, group in kinds(log)) == records


@pytest.mark.parametrize("name", NONE)
def test_real_record_that_no_rule_helps_names_what_does(name: str) -> None:
    _, group = next(
        (program, group)
        for program, group in kinds(LAB_NODE)
        if program == name and group.denial.fields["operation"] != "capable"
    )
    with naming(NoRule, NONE[name]):
        rule(group.denial)
