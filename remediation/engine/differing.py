"""How two states of an action differ, for a reader: in words, and as texts for a unified diff."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from docker_lxc_gate.formats.archive import FileState
from docker_lxc_gate.machines.files import unlike
from remediation.engine.action import Drift

#: More than this of a value is no use to a reader (characters).
_LONG = 200


def differing(before: Any, now: Any, path: str = "") -> tuple[list[str], list[Drift]]:
    """Return in which parts two states differ: the one that must be, and the one that is.

    There are a few words for each part, and a drift for each file whose content is another one. If
    the states are about a file, ``path`` names it there.
    """
    if isinstance(before, FileState) and isinstance(now, FileState):
        return _of_files(before, now, path)
    words: list[str] = []
    drifts: list[Drift] = []
    if not is_dataclass(before) or type(before) is not type(now):
        return words, drifts
    for field in fields(before):
        was, is_ = getattr(before, field.name), getattr(now, field.name)
        if not field.compare or was == is_:
            continue
        if isinstance(was, FileState) and isinstance(is_, FileState):
            differences, more = _of_files(was, is_, path)
            words.append(f"{path or field.name}: {', '.join(differences)}")
            drifts += more
        else:
            words.append(f"{field.name}: {_shown(was)} -> {_shown(is_)}")
    return words, drifts


def _of_files(before: FileState, now: FileState, path: str) -> tuple[list[str], list[Drift]]:
    if before.kind != now.kind:
        return [f"was {_kind(before)}, is {_kind(now)}"], _drifts(before, now, path)
    words = ["content"] if before.content != now.content else []
    if before.link != now.link:
        words.append(f"link {_shown(before.link)} -> {_shown(now.link)}")
    words += unlike(now, before)
    if before.mtime != now.mtime:
        words.append("time")
    return words, _drifts(before, now, path)


def _kind(state: FileState) -> str:
    return "absent" if state.kind == "absent" else f"a {state.kind}"


def _drifts(before: FileState, now: FileState, path: str) -> list[Drift]:
    if before.content == now.content:
        return []
    return [Drift(path or "its content", before.content, now.content)]


def _shown(value: object) -> str:
    """Return a value in one line: what no terminal prints is escaped, bytes are counted."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = repr(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"
