"""Denials in the forms that programs and forums give them: read as the kernel's, or told apart."""

from __future__ import annotations

import json
import re

import pytest

from docker_lxc_gate.facts.audit.audit_records import parse
from docker_lxc_gate.facts.denial.denial_groups import Tally
from docker_lxc_gate.facts.denial.denial_lines import Unreadable, restored
from tests.doubles.apparmor.denials import CORPUS, LAB
from tests.doubles.naming import naming

RECORD = (
    'type=AVC msg=audit(1795717106.123:42): apparmor="DENIED" operation="mount" class="mount" '
    'info="failed type match" error=-13 profile="lxc-950_</var/lib/lxc>" name="/mnt/" pid=42 '
    'comm="fuse-overlayfs" fstype="fuse" srcname="x" flags="rw, nosuid"'
)
ENTRY = {"_TRANSPORT": "kernel", "_AUDIT_FIELD_APPARMOR": '"DENIED"', "PRIORITY": "5"}
INTERPRETED = RECORD.replace('"', "").replace(
    "1795717106.123:42):", "11/26/2026 18:18:26.123:42) :"
)
FORMS = {
    "grep --color": RECORD.replace("DENIED", "\x1b[01;31m\x1b[KDENIED\x1b[m\x1b[K"),
    "grep --color of a field": RECORD.replace("950", "\x1b[01;31m\x1b[K950\x1b[m\x1b[K"),
    "cat -v": RECORD.replace("DENIED", "^[[01;31m^[[KDENIED^[[m^[[K"),
    "curly": RECORD.replace(' "', " “").replace('="', "=“").replace('"', "”"),
    "escaped": RECORD.replace('"', r"\""),
    "HTML": RECORD.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;"),
    "CSV": f'"{RECORD.replace(chr(34), chr(34) * 2)}"',
    "ausearch -i": INTERPRETED,
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
def test_restored_of_a_form_without_doubt_is_the_record(form: str) -> None:
    (expected,), (found,) = parse(RECORD), parse(restored(FORMS[form]))
    assert found.fields == expected.fields
    assert found.whole


@pytest.mark.parametrize("form", FORMS)
def test_tally_counts_each_form_next_to_the_kernels(form: str) -> None:
    tally = Tally(lambda *_: None)
    tally.count([RECORD.encode(), FORMS[form].encode(), RECORD.encode()])
    assert [group.count for group in tally.groups()] == [3]
    assert not tally.unreadable


def test_restored_of_every_record_by_the_journals_json_is_that_record() -> None:
    for log in (CORPUS, *LAB):
        for record in log.read_text(errors="replace").splitlines():
            if re.search('apparmor="(DENIED|STATUS)"', record):
                assert restored(json.dumps({"MESSAGE": record})) == record


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        (INTERPRETED.replace("/mnt/", "/a b"), "ausearch without -i"),
        (INTERPRETED.replace("/mnt/", "/a flags=rw"), "ausearch without -i"),
        (INTERPRETED.replace("/mnt/", "/a fsuid=0"), "ausearch without -i"),
        (INTERPRETED.replace("/mnt/", '/a"'), "ausearch without -i"),
        (RECORD.replace('"', "'"), "as the log itself has it"),
        (RECORD.replace('"', r"\\\""), "as the log itself has it"),
        (RECORD.replace("/mnt/", r"/a\b").replace('"', r"\""), "as the log itself has it"),
        ('{"AVC":[{"apparmor":"DENIED","operation":"open"}]}', "as the log itself has it"),
        ("type=APPARMOR_DENIED msg=audit(1.5:1): operation=open", "as the log itself has it"),
        ('\t"MESSAGE" : [', "journalctl -o json --all"),
        ('{"MESSAGE":null,"_TRANSPORT":"kernel"}', "journalctl -o json --all"),
        ('mor="DENIED" operation="mount" profile="x"', "join it with the line before"),
        ('  IED" operation="mount" profile="x"', "join it with the line before"),
        ('> > IED" operation="mount" profile="x"', "join it with the line before"),
        ('log:{"MESSAGE":[97,68,69,78,73,69,68,34]}', "journalctl -o short"),
        ('llowed, it said "STOPPED" operation="mount"', ""),
        ('{"MESSAGE":"cut off: apparmor=DEN', ""),
    ],
)
def test_restored_of_what_may_be_a_denial_says_what_to_change(line: str, advice: str) -> None:
    if not advice:
        assert restored(line) == ""
        return
    with naming(Unreadable, advice):
        restored(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Nov 26 sudo: root : COMMAND=/usr/bin/grep apparmor=.DENIED. /var/log/syslog",
        'Nov 26 sudo: root : COMMAND=/usr/bin/grep apparmor="DENIED" /var/log/syslog',
        '{"MESSAGE":"root : COMMAND=/usr/bin/grep apparmor=\\"DENIED\\" /var/log/syslog"}',
        "type=EXECVE msg=audit(1.5:1): argc=2 a0=grep a1=apparmor=.DENIED",
        'type=EXECVE msg=audit(1.5:1) : argc=2 a0=grep a1=apparmor="DENIED"',
        'type=PROCTITLE msg=audit(1.5:1) : proctitle=grep apparmor="DENIED" log',
        'type=PATH msg=audit(1.5:1): item=0 name="/apparmor-DENIED" inode=1',
        'audit: type=1300 audit(1.5:1): syscall=59 comm="apparmor-DENIED"',
        '    _AUDIT_FIELD_APPARMOR="DENIED"',
        '\t"_AUDIT_FIELD_APPARMOR" : "\\"DENIED\\"",',
        "runc: apparmor failed to apply profile: permission denied",
        "NT_STATUS_ACCESS_DENIED",
        '{"MESSAGE":"apparmor is loaded","X":"DENIED"}',
        '{"MESSAGE":null,"_TRANSPORT":"stdout"}',
    ],
)
def test_restored_of_another_line_is_nothing(line: str) -> None:
    assert restored(line) == ""
    tally = Tally(lambda *_: None)
    tally.count([line.encode()])
    assert (tally.kinds(), tally.unreadable) == ([], 0)
