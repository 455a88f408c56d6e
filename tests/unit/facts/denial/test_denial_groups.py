"""Denials are counted by what was tried; none is lost, however many kinds there are."""

import io
import json
import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from docker_lxc_gate.facts.audit import audit_files
from docker_lxc_gate.facts.audit.audit_records import parse
from docker_lxc_gate.facts.denial import denial_groups
from docker_lxc_gate.facts.denial.denial_answers import danger, rule, smallest_rule, wanted, who
from docker_lxc_gate.facts.denial.denial_groups import Tally, Unreadable, restored
from docker_lxc_gate.facts.denial.denial_log import Owner, owner_by_name
from tests.doubles.apparmor.denials import CORPUS, KERNEL, LAB
from tests.doubles.examples import examples
from tests.doubles.naming import naming

OPEN = (
    'type=AVC msg=audit({at}:7): apparmor="DENIED" operation="open" class="file" '
    'profile="lxc-phoenix-v2" name="{name}" pid={pid} comm="{comm}" denied_mask="r"'
)


def line(at: float = 10.5, name: str = "/x", pid: int = 7, comm: str = "cat") -> bytes:
    return OPEN.format(at=at, name=name, pid=pid, comm=comm).encode()


def counted(*lines: bytes, since: float | None = None) -> Tally:
    tally = Tally(lambda denial, _: owner_by_name(denial), since)
    tally.count(lines)
    return tally


def test_groups_of_one_attempt_by_many_processes_are_one_with_its_first_and_last_time() -> None:
    (group,) = counted(line(12.5), line(10.5, pid=8), line(11, comm="less")).groups()
    assert (group.count, group.first, group.last) == (3, 10.5, 12.5)
    assert group.programs == ["cat", "less"]


@pytest.mark.parametrize(
    ("names", "rule_name"),
    [
        ([f"/proc/{n}/stat" for n in range(2, 302)], "/proc/@{pid}/stat"),
        ([f"/overlay2/{n:064x}/merged/" for n in range(300)], "/overlay2/[0-9a-f]*/merged/"),
        ([f"/run/docker/netns/{n:012x}" for n in range(300)], "/run/docker/netns/[0-9a-f]*"),
    ],
)
def test_groups_of_names_that_differ_in_an_id_are_one(names: list[str], rule_name: str) -> None:
    (group,) = counted(*(line(name=name) for name in names)).groups()
    assert (group.count, group.several) == (300, True)
    assert rule(group.denial) == f"{rule_name} r,"
    assert wanted(group.denial.fields, several=True) == f"read {rule_name}"


def test_groups_of_one_name_with_an_id_show_that_name() -> None:
    groups = counted(
        line(name="/proc/7/x"), line(name="/proc/7/x"), line(name="/proc/1/x")
    ).groups()
    assert [(group.count, group.several) for group in groups] == [(2, False), (1, False)]


def test_groups_are_the_most_frequent_first_and_what_cannot_be_read_last() -> None:
    groups = counted(b'apparmor="DENIED"', b'apparmor="DENIED"', line(), line(name="/y")).groups()
    assert [group.readable for group in groups] == [True, True, False]
    assert groups[-1].count == 2


def test_count_leaves_out_what_is_older_and_keeps_what_tells_no_time() -> None:
    old, new, none = line(9), line(11), line().replace(b"audit(", b"")
    assert [group.count for group in counted(old, new, old, none, since=10).groups()] == [2]
    assert counted(old, old, since=10).groups() == []


def test_count_of_a_change_of_policy_takes_the_refused_alone() -> None:
    status = b'audit(1.5:1): apparmor="STATUS" operation="profile_load" error=%d name="x" pid=1'
    tally = counted(status % -13, status % -1, status % -2, status.replace(b"error=%d ", b""))
    assert [group.count for group in tally.groups()] == [2]
    refused = status % -13 + b" "  # in front of a denial
    tally = counted(line(), refused + line(), refused + line())
    assert sorted(group.count for group in tally.groups()) == [2, 3]


def test_groups_of_more_kinds_than_are_kept_lose_no_denial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denial_groups, "_MOST_KINDS", 5)
    operations = [line(name=f"/{n}") for n in range(20)]
    operations += [line().replace(b'"open"', b'"o%d"' % n) for n in range(20)]
    tally = counted(*operations, *operations)
    groups = tally.groups()
    assert sum(group.count for group in groups) == 80
    assert len(groups) <= 11
    assert {group.merged for group in groups} == {True, False}


def test_owner_of_each_kind_is_told_apart() -> None:
    owners = iter([Owner(950, "x"), Owner(951, "x"), Owner(950, "x")])
    tally = Tally(lambda *_: next(owners))
    tally.count([line(), line(), line()])
    assert sorted(group.count for group in tally.groups()) == [1, 2]


def test_records_of_the_kernels_log_are_read_as_auditds() -> None:
    opened, bound = counted(*KERNEL.read_bytes().splitlines()).groups()
    assert (opened.count, opened.denial.fields["name"]) == (5, "/proc/kcore")
    assert (bound.count, bound.first) == (1, None)


PIECES = [*CORPUS.read_bytes().splitlines(), b"\x1d", b'"', b"=", b" ", b"\xff", b"audit(", b"("]


@examples(250)
@given(
    pieces=st.lists(
        st.one_of(
            st.sampled_from(PIECES).flatmap(
                lambda text: st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(
                    lambda ends: text[min(ends) : max(ends)]
                )
            ),
            st.just(b'apparmor="DENIED"'),
            st.binary(max_size=20).map(lambda text: text.replace(b"\n", b"")),
        ),
        max_size=6,
    )
)
@example(pieces=[b'apparmor="DENIED"audit(9999999999999999999.9:'])
@example(pieces=[b"audit(999999999999.9:1): ", b'apparmor="DENIED" operation="open" name=C3'])
def test_count_of_any_bytes_never_raises_and_loses_no_record(pieces: list[bytes]) -> None:
    """A log that is read as a file is, with everything that is said of each denial."""
    log = b"".join(pieces)
    assume(b"COMMAND=" not in log)  # somebody searched for the mark
    log += b"\n" + log
    tally = counted(*audit_files.lines(io.BufferedReader(io.BytesIO(log))))
    groups = tally.groups()
    assert sum(group.count for group in groups) + tally.provoked >= log.count(b'apparmor="DENIED"')
    for group in groups:
        said = who(group.programs), wanted(group.denial.fields), danger(group.denial.fields)
        assert all(isinstance(each, str) for each in said)
        assert "\n" not in smallest_rule(group.denial)


RECORD = (
    'type=AVC msg=audit(1795717106.123:42): apparmor="DENIED" operation="mount" class="mount" '
    'info="failed type match" error=-13 profile="lxc-950_</var/lib/lxc>" name="/mnt/" pid=42 '
    'comm="fuse-overlayfs" fstype="fuse" srcname="x" flags="rw, nosuid"'
)
ENTRY = {"_TRANSPORT": "kernel", "_AUDIT_FIELD_APPARMOR": '"DENIED"', "PRIORITY": "5"}
INTERPRETED = RECORD.replace('"', "")
FORMS = {
    "grep --color": RECORD.replace("DENIED", "\x1b[01;31m\x1b[KDENIED\x1b[m\x1b[K"),
    "grep --color of a field": RECORD.replace("950", "\x1b[01;31m\x1b[K950\x1b[m\x1b[K"),
    "a list": f"    {json.dumps(RECORD)},",
    "journalctl -o json": json.dumps({**ENTRY, "MESSAGE": RECORD}),
    "journalctl -o json, bytes": json.dumps(
        {**ENTRY, "MESSAGE": list(RECORD.encode())}, separators=(",", ":")
    ),
    "journalctl -o json-seq, bytes": f"\x1e{json.dumps({'MESSAGE': list(RECORD.encode())})}",
    "journalctl -o json-sse, bytes": f"data: {json.dumps({'MESSAGE': list(RECORD.encode())})}",
    "journalctl -o json-pretty": f'\t"MESSAGE" : {json.dumps(RECORD)},',
    "a log of Docker's": json.dumps({"log": f"{RECORD}\n", "stream": "stdout"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_tally_counts_each_form_next_to_the_kernels(form: str) -> None:
    tally = Tally(lambda *_: None)
    killed = FORMS[form].replace("DENIED", "KILLED")
    for comma in (",", ", "):
        killed = killed.replace(*(comma.join(map(str, word)) for word in (b"DENIED", b"KILLED")))
    tally.count(each.encode() for each in (RECORD, FORMS[form], killed, RECORD))
    assert [group.count for group in tally.groups()] == [4]
    assert not tally.unreadable


def test_restored_of_every_record_by_the_journals_json_is_that_record() -> None:
    for log in (CORPUS, *LAB):
        for record in log.read_text(errors="replace").splitlines():
            if re.search('apparmor="(DENIED|STATUS)"', record):
                assert restored(json.dumps({"MESSAGE": record})) == record


@pytest.mark.parametrize(
    ("shown", "suggested"),
    [
        (
            "DENIED  lxc-a open @{PROC}/sys/x comm=cat requested_mask=r denied_mask=r",
            "/proc/sys/x r,",
        ),
        ("DENIED  lxc-a open owner /x comm=cat denied_mask=w error=-13", "owner /x w,"),
        (
            "DENIED  lxc-a ptrace comm=ps requested_mask=read denied_mask=read peer=unconfined",
            "ptrace (read) peer=unconfined,",
        ),
        ("DENIED  lxc-a open @{bin}/x comm=cat denied_mask=r", "aa-log wrote a variable"),
        (
            'DENIED  lxc-a file_inherit comm=x family=unix sock_type=stream denied_mask="send"',
            "network unix stream,",
        ),
    ],
)
def test_restored_of_a_line_of_aa_log_is_a_record_unless_a_name_was_shortened(
    shown: str, suggested: str
) -> None:
    (denial,) = parse(restored(f"\x1b[1;31m{shown}\x1b[0m"))
    assert suggested in smallest_rule(denial)


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        (INTERPRETED, "ausearch without -i"),
        (RECORD.replace('"', "'"), "as the log itself has it"),
        (RECORD.replace('"', r"\""), "as the log itself has it"),
        ('{"AVC":[{"apparmor":"DENIED","operation":"open"}]}', "as the log itself has it"),
        ("type=APPARMOR_DENIED msg=audit(1.5:1): operation=open", "as the log itself has it"),
        ('\t"MESSAGE" : [', "journalctl -o json --all"),
        ('{"MESSAGE":null,"_TRANSPORT":"kernel"}', "journalctl -o json --all"),
        ('mor="DENIED" operation="mount" profile="x"', "join it with the line before"),
        ('> > IED" operation="mount" profile="x"', "join it with the line before"),
        ('log:{"MESSAGE":[97,68,69,78,73,69,68,34]}', "journalctl -o short"),
    ],
)
def test_restored_of_what_may_be_a_denial_says_what_to_change(line: str, advice: str) -> None:
    with naming(Unreadable, advice):
        restored(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        'Nov 26 sudo: root : COMMAND=/usr/bin/grep apparmor="DENIED" /var/log/syslog',
        '{"MESSAGE":"root : COMMAND=/usr/bin/grep apparmor=\\"DENIED\\" /var/log/syslog"}',
        'type=EXECVE msg=audit(1.5:1) : argc=2 a0=grep a1=apparmor="DENIED"',
        'type=PATH msg=audit(1.5:1): item=0 name="/apparmor-DENIED" inode=1',
        '    _AUDIT_FIELD_APPARMOR="DENIED"',
        '\t"_AUDIT_FIELD_APPARMOR" : "\\"DENIED\\"",',
        "runc: apparmor failed to apply profile: permission denied",
        '{"MESSAGE":"apparmor is loaded","X":"DENIED"}',
        '{"MESSAGE":null,"_TRANSPORT":"stdout"}',
        'llowed, it said "STOPPED" operation="mount"',
        '{"MESSAGE":"cut off: apparmor=DEN',
    ],
)
def test_restored_of_another_line_is_nothing(line: str) -> None:
    assert restored(line) == ""
    tally = Tally(lambda *_: None)
    tally.count([line.encode()])
    assert (tally.kinds(), tally.unreadable) == ([], 0)
