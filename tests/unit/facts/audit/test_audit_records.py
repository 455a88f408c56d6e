"""Denials in a stretch of log: their fields, and what a long line costs."""

import ctypes
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from docker_lxc_gate.facts.audit import audit_records
from docker_lxc_gate.facts.audit.audit_records import parse
from tests.doubles.apparmor.denials import CORPUS, LAB

#: As auditd and the kernel write them on Debian 13 (kernel 6.12).
MOUNT = (
    'type=AVC msg=audit(1795535708.438:588): apparmor="DENIED" operation="mount" class="mount" '
    'info="failed flags match" error=-13 profile="lxc-phoenix-v2" '
    'name="/var/lib/docker/fuse-overlayfs/ab/merged/" pid=1985 comm="dockerd" '
    'flags="rw, rbind"'
)
HEX = MOUNT.replace('comm="dockerd"', "comm=612062").replace("AVC", "1400")


def one(line: str) -> audit_records.Denial:
    (denial,) = audit_records.parse(f'noise\n{line}\ntype=AVC apparmor="ALLOWED" x\n')
    return denial


@pytest.mark.parametrize("key", ["name", "comm", "profile", "srcname", "peer"])
def test_parse_value_in_hexadecimal_is_decoded_if_it_can_be(key: str) -> None:
    assert one(f'apparmor="DENIED" {key}=2F612062').fields[key] == "/a b"
    assert one(f'apparmor="DENIED" {key}=2F6').fields[key] == "2F6"
    plain = one('apparmor="DENIED" pid=1985')
    assert (plain.fields["pid"], plain.profile) == ("1985", "")


def test_parse_of_long_lines_takes_no_time() -> None:
    """200 KB without an equals sign, with nothing but quotes, of keys, of a number."""
    head = 'type=AVC apparmor="DENIED" '
    for tail in ("x" * 200_000, 'a="' * 70_000, "k=" * 100_000, "lxc-" * 50_000, "9" * 200_000):
        begun = time.process_time()
        (found,) = audit_records.parse(head + tail)
        assert audit_records.serial(found)
        assert len(found.line) <= audit_records.LONGEST_RECORD
        audit_records.reconfigures(f"changed {tail}")
        audit_records.reconfigures(f"changed op=add_rule {tail}")
        assert time.process_time() - begun < 1


def test_records_of_two_writers_in_one_line_are_two_each_with_its_own_fields() -> None:
    cut = MOUNT[: MOUNT.index("/docker")]
    first, second = audit_records.records(f"{cut}{HEX}")
    assert (first.fields["operation"], "name" in first.fields, first.whole) == (
        "mount",
        False,
        False,
    )
    assert second.line == HEX
    assert second.whole
    assert second.fields["comm"] == "a b"
    without_head = 'apparmor="DENIED" operation="open" name="/x"'
    assert [d.fields.get("operation") for d in audit_records.records(without_head * 3)] == [
        "open"
    ] * 3


def test_records_of_an_enriched_line_end_where_the_names_begin() -> None:
    (denial,) = audit_records.records(f'x\x1dy {MOUNT}\x1dUID="root" comm="forged"')
    assert denial.fields["comm"] == "dockerd"
    assert "UID" not in denial.fields
    assert audit_records.records("type=AVC") == []


def test_fields_are_those_behind_the_mark_and_the_first_of_each_name() -> None:
    said = 'type=USER_AVC pid=700 msg=\'apparmor="DENIED" pid=42 label="p" exe="x" pid=43\''
    assert one(said).fields["pid"] == "42"
    far = "a" * 5000 + " pid=1 " + MOUNT
    assert one(far).fields["pid"] == "1985"
    assert one(far).line.endswith(MOUNT)


def test_when_is_the_kernels_time_if_a_calendar_has_it() -> None:
    assert audit_records.when(MOUNT) == 1795535708.438
    assert audit_records.when("audit(7:1)") == 7
    assert audit_records.when("audit(253402300800.0:1)") is None
    assert audit_records.when("audit(x:1)") is None


class _Record(ctypes.Structure):
    """The first members of ``aa_log_record``, by the names that a record has for them.

    Source: libapparmor, include/aalogparse.h.
    """

    _fields_ = (
        *[(name, ctypes.c_int) for name in ("version", "event")],
        *[(name, ctypes.c_ulong) for name in ("pid", "peer_pid", "task", "magic_token")],
        ("epoch", ctypes.c_long),
        *[("audit_sub_id", ctypes.c_uint), ("bitmask", ctypes.c_int)],
        *[(name, ctypes.c_char_p) for name in ("audit_id", "operation", "denied", "requested")],
        *[("fsuid", ctypes.c_ulong), ("ouid", ctypes.c_ulong)],
        *[(name, ctypes.c_char_p) for name in ("profile", "tcontext", "comm", "name", "target")],
        *[("namespace", ctypes.c_char_p), ("attribute", ctypes.c_char_p)],
        ("parent", ctypes.c_ulong),
        *[(name, ctypes.c_char_p) for name in ("info", "peer_info")],
        ("error", ctypes.c_int),
        *[(name, ctypes.c_char_p) for name in ("hat", "family", "protocol", "sock_type", "laddr")],
        *[("lport", ctypes.c_ulong), ("faddr", ctypes.c_char_p), ("fport", ctypes.c_ulong)],
        *[(name, ctypes.c_char_p) for name in ("bus", "path", "interface", "member")],
        *[(name, ctypes.c_char_p) for name in ("signal", "peer", "fstype", "flags", "srcname")],
    )


#: What is compared as text, and how many records of the corpus must have it at least.
_COMPARED = {
    **dict.fromkeys(("operation", "profile", "comm", "name", "namespace"), 1),
    "target": 12,
    "requested": 100,
    "denied": 100,
    "tcontext": 3,
    "peer": 20,
    "signal": 10,
    "fstype": 7,
    "flags": 20,
    "srcname": 13,
    "family": 20,
    "sock_type": 20,
}
#: What a record may call it otherwise.
_OTHERWISE = {"name": "capname", "requested": "requested_mask", "denied": "denied_mask"}


def _reference(line: str) -> _Record | None:
    """Return what AppArmor's own library (Debian's libapparmor1) reads in a line; None: nothing."""
    library = ctypes.CDLL("libapparmor.so.1")
    library.parse_record.restype = ctypes.POINTER(_Record)
    found: _Record = library.parse_record(line.encode()).contents
    return found if found.operation else None


def test_parse_of_the_corpus_is_what_apparmors_own_library_reads() -> None:
    found = Counter[str]()
    for log, fewest in zip((CORPUS, *LAB), (26, 69, 67, 8), strict=True):
        compared = list(_compared(log))
        assert len(compared) >= fewest, log
        found.update(name for names in compared for name in names)
    assert {name: found[name] for name, least in _COMPARED.items() if found[name] < least} == {}


def _compared(log: Path) -> Iterator[list[str]]:
    """Compare each record with what the library reads; yield the names of what it gave."""
    for line in log.read_text("utf-8").splitlines():
        # The library knows the date of syslog, and not the journal's.
        found, theirs = parse(line), _reference(re.sub("^[0-9.]+ ", "Nov 26 18:18:26 ", line))
        if len(found) != 1 or theirs is None or not found[0].whole:
            continue
        fields = found[0].fields
        given = [name for name in _COMPARED if getattr(theirs, name)]
        for name in given:
            ours = fields.get(name) or fields.get(_OTHERWISE.get(name, ""))
            assert ours == getattr(theirs, name).decode(errors="replace"), line
        assert int(fields["pid"]) == theirs.pid
        yield given
