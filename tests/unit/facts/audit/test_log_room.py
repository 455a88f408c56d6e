"""The room that a log has, and the room that it needs."""

from __future__ import annotations

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit import log_room
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.transport import Local
from tests.doubles.scripted import Scripted

GIB = 1 << 30
PLACES = {"auditd": "/var/log/audit", "kernel": "/run"}


def room(answer: str, source: str = "auditd", code: int = 0) -> log_room.Room:
    node = Scripted({("sh", "room", PLACES[source]): (code, answer.encode(), b"")})
    return log_room.log_room(node, source)


def test_log_room_needed_is_the_least_or_auditds_own_limit() -> None:
    found = room(f"{GIB} {8 * GIB} /var/log\n")
    assert (found.place, found.free, found.needed) == ("/var/log", GIB, log_room.LEAST_ROOM)
    assert room(f"{GIB} {8 * GIB} /var/log\n75\n").needed == 75 << 20
    assert room(f"{GIB} {8 * GIB} /\n10%\n").needed == 8 * GIB // 10
    assert room(f"{GIB} {8 * GIB} /run\n75\n", "kernel").needed == log_room.LEAST_ROOM
    assert room(f"0 {8 * GIB} /var/log\n").free == 0


def test_log_room_without_an_answer_is_an_error() -> None:
    with pytest.raises(FactError):
        room("df: no such file\n")
    with pytest.raises(CommandFailed):
        room(f"{GIB} {8 * GIB} /var/log\n", code=1)


def test_log_room_of_this_machine_is_free() -> None:
    assert log_room.log_room(Local(), "kernel").free > 0
