"""Guards: tests run nothing without a directory or a path; no code follows a guest's links."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remediation.engine import journal
from remediation.engine.journal import Journal
from targets import lock
from targets.lock import Lock
from targets.transport import Local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ROOT = Path(__file__).resolve().parents[2]
#: A path below a process's root, as the node resolves it: the guest's links lead anywhere.
_FOLLOWED = re.compile(r"/proc/.*\b(root|cwd)(/|$)|/proc/\S*/(root|cwd)\b", re.MULTILINE)
#: The one module that enters a container's root first, before it opens anything there.
_ENTERS = "targets/guest_root.py"


def hold_lock() -> None:
    with Lock(Local()).held("nothing"):
        pass


@pytest.mark.parametrize(
    ("reach", "path"),
    [(Journal(Local(), 950).entries, journal.DIRECTORY), (hold_lock, lock.PATH)],
    ids=["journal", "lock"],
)
def test_guard_keeps_tests_away_from_this_machines(reach: Callable[[], None], path: str) -> None:
    with pytest.raises(AssertionError) as kept:
        reach()
    assert path in str(kept.value)


def _text(node: ast.expr) -> str:
    """Return what is known of a text: what is filled in reads ``*``."""
    match node:
        case ast.Constant(str(text)):
            return text
        case ast.JoinedStr(values):
            return "".join(map(_text, values))
        case ast.BinOp(left, ast.Add() | ast.Div(), right):
            return _text(left) + _text(right)
        case ast.BinOp(left, ast.Mod()):
            return re.sub("%[sdr]", "*", _text(left))
    return "*"


def _texts(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
            yield _text(node)


@pytest.mark.parametrize(
    "source",
    [
        *('"/proc/42/root/run/docker.sock"', 'f"/proc/{pid}/root{path}"', '"cat /proc/$1/root"'),
        *('"/proc/%d/root/etc" % pid', '"/proc/" + pid + "/root/x"', '"cd /proc/$1; cat root/x"'),
        'f"/proc/{pid}" "/cwd/x"',
    ],
)
def test_guard_finds_a_path_below_a_guests_root(source: str) -> None:
    assert any(_FOLLOWED.search(text) for text in _texts(source))


def test_guard_no_path_below_a_guests_root_is_opened_from_the_node() -> None:
    """An absolute link in the guest would be resolved with the node's root."""
    found = set()
    looked = 0
    for package in ("targets", "facts", "remediation", "steps", "doctor", "gate", "lint"):
        for path in sorted(each for each in (_ROOT / package).rglob("*") if each.is_file()):
            if path.suffix == ".pyc":
                continue
            content = path.read_text(errors="replace")
            texts = _texts(content) if path.suffix == ".py" else [content]
            looked += 1
            if any(_FOLLOWED.search(text) for text in texts):
                found.add(str(path.relative_to(_ROOT)))
    assert looked > 100
    assert found == {_ENTERS}
