"""Denials in a stretch of log, and their fields."""

import pytest

from docker_lxc_gate.facts.audit import audit_records

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


def test_records_of_two_writers_in_one_line_are_two_each_with_its_own_fields() -> None:
    cut = MOUNT[: MOUNT.index("/docker")]
    first, second = audit_records.records(f"{cut}{HEX}")
    assert first.fields["operation"] == "mount"
    assert "name" not in first.fields
    assert not first.whole
    assert second.line == HEX
    assert second.whole
    assert second.fields["comm"] == "a b"
    without_head = 'apparmor="DENIED" operation="open" name="/x"'
    three = audit_records.records(without_head * 3)
    assert [each.fields.get("operation") for each in three] == ["open"] * 3


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
    assert len(one(far).line) <= audit_records.LONGEST_RECORD


def test_when_is_the_kernels_time_if_a_calendar_has_it() -> None:
    assert audit_records.when(MOUNT) == 1795535708.438
    assert audit_records.when("audit(7:1)") == 7
    assert audit_records.when("audit(253402300800.0:1)") is None
    assert audit_records.when("audit(x:1)") is None
