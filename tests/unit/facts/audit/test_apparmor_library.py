"""The records are read as AppArmor's own library reads them."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from docker_lxc_gate.facts.audit.audit_records import parse
from tests.doubles.apparmor.denials import CORPUS, LAB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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


@pytest.mark.parametrize(
    ("log", "fewest"), [*zip((CORPUS, *LAB), (26, 69, 67, 8), strict=True)], ids=str
)
def test_parse_of_the_corpus_is_what_apparmors_own_library_reads(log: Path, fewest: int) -> None:
    assert sum(1 for _ in _compared(log)) >= fewest


def test_each_field_is_compared_with_apparmors_own_library() -> None:
    found = Counter(name for log in (CORPUS, *LAB) for names in _compared(log) for name in names)
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
