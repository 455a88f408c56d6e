"""The room that a log has: what is red, what cannot be told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from facts import log_room
from steps import prerequisites as steps
from targets.errors import CommandFailed, FactError
from targets.transport import Local
from tests.doubles.scripted import Scripted

if TYPE_CHECKING:
    from pathlib import Path

PLACES = {"auditd": "/var/log/audit", "kernel": "/run"}


def room(answer: str, source: str = "auditd", code: int = 0) -> log_room.Room:
    argv = ("sh", "-c", log_room._LOG_ROOM, "room", PLACES[source])
    node = Scripted({argv: (code, answer.encode(), b"")})
    window: Any = SimpleNamespace(source=source)
    steps.log_has_room(node, window)
    return log_room.log_room(node, source)


def test_room() -> None:
    gib = 1 << 30
    assert room(f"{gib} {8 * gib} /var/log\n").needed == log_room.LEAST_ROOM
    assert room(f"{gib} {8 * gib} /var/log\n75\n").needed == 75 << 20
    assert room(f"{gib} {8 * gib} /\n10%\n").needed == 8 * gib // 10
    with pytest.raises(
        AssertionError,
        match=r"/var/log on .* has 70 MiB left for auditd's log, but 75 MiB are needed",
    ):
        room(f"{70 << 20} {8 * gib} /var/log\n75\n")
    with pytest.raises(AssertionError, match="has 0 MiB left for auditd's log, but 64 MiB"):
        room(f"0 {8 * gib} /var/log\n")
    assert room(f"{gib} {8 * gib} /run\n75\n", "kernel").needed == log_room.LEAST_ROOM
    with pytest.raises(FactError, match="cannot be read"):
        room("df: no such file\n")
    with pytest.raises(CommandFailed):
        room(f"{gib} {8 * gib} /var/log\n", code=1)


def test_room_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(log_room, "_LOGS", {"kernel": ("a log", str(tmp_path))})
    assert log_room.log_room(Local(), "kernel").free > 0
