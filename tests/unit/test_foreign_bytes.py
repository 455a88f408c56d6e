"""No exception outside our own tree leaves a parser of foreign bytes, whatever they are."""

from __future__ import annotations

import ast
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from targets.errors import RemediationError
from tests.doubles.foreign import ELSEWHERE, PARSERS, Foreign

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).resolve().parents[2]
#: What meets a target's answers or somebody's files. The lab and its faults make their own.
_PACKAGES = ("targets", "facts", "remediation", "commandline", "lint", "doctor", "steps", "gate")
_HERE = tuple(f"{_ROOT / each}/" for each in _PACKAGES)
#: What a function does that reads what somebody else wrote.
_READS = frozenset({"text", "stdout", "stderr", "read", "decode", "loads"})

_ODD = st.sampled_from(
    [
        *(
            b"\0",
            b"\n",
            b"\n\n",
            b"\r\n",
            b" ",
            b"\t",
            b"=",
            b":",
            b'"',
            b"[",
            b"]",
            b"{",
            b"}",
            b",",
        ),
        *(
            b"\xff",
            b"\xc3",
            "\uff19\uff15\uff10".encode(),
            "\xb2".encode(),
            b"-1",
            b"1e999",
            b"NaN",
            b"9" * 40,
        ),
        *(b"\\u0000", b'"\\ud800"', b"0001-01-01T00:00:00Z", b"9999-99-99", b"[" * 3000),
    ]
)


@st.composite
def mutated(draw: st.DrawFn, sample: bytes) -> bytes:
    """A healthy answer with pieces left out, doubled, or replaced by what nobody expects."""
    said = sample
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(said)))
        end = draw(st.integers(start, min(len(said), start + 30)))
        piece = draw(
            st.one_of(st.just(b""), _ODD, st.binary(max_size=8), st.just(said[start:end] * 2))
        )
        said = said[:start] + piece + said[end:]
    return said


def answers(sample: bytes) -> st.SearchStrategy[list[tuple[int, bytes, bytes]]]:
    """Answers of a machine: exit code, standard output, standard error."""
    code = st.sampled_from([0, 0, 0, 1, 2, 127, 255])
    out = st.one_of(mutated(sample), st.just(sample), st.binary(max_size=60), st.just(b""))
    return st.lists(st.tuples(code, out, st.one_of(st.just(b""), _ODD)), min_size=1, max_size=4)


@pytest.mark.parametrize("name", PARSERS)
def test_parser_of_foreign_bytes_raises_only_our_own_errors(name: str) -> None:
    ask, sample = PARSERS[name]

    @settings(
        max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(said=answers(sample))
    @example(said=[(0, b"", b"")])
    @example(said=[(0, b"[" * 100_000, b"")])
    @example(said=[(0, b"\xff" * 100, b"\xff")])
    @example(said=[(0, sample + b"\n== cut off in a heading", b"")])
    @example(said=[(0, sample + b"\n== firewall\n*\nended with 0\n", b"")])
    def fuzz(said: list[tuple[int, bytes, bytes]]) -> None:
        with suppress(RemediationError):
            ask(Foreign(said))

    fuzz()


def _place(path: str | Path, name: str) -> str:
    """Return a function's place: its module with all its packages, and its name."""
    return ".".join((*Path(path).relative_to(_ROOT).with_suffix("").parts, name))


def _readers() -> Iterator[str]:
    """Yield each function of the package that reads an answer, a file or bytes, by its place."""
    for path in sorted(path for each in _HERE for path in Path(each).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                inner = [each for each in ast.walk(node) if isinstance(each, ast.Attribute)]
                if any(each.attr in _READS for each in inner):
                    yield _place(path, node.name)


def test_parsers_of_foreign_bytes_are_every_function_that_reads_some() -> None:
    ran: set[str] = set()

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_HERE):
            ran.add(_place(frame.f_code.co_filename, frame.f_code.co_name))

    answers = [
        (0, b"%b", b""),
        (0, b"", b""),
        (1, b"%b", b"No such file or directory"),
        (3, b"", b"x"),
    ]
    sys.setprofile(note)
    try:
        for ask, sample in PARSERS.values():
            for code, out, err in answers:
                with suppress(RemediationError):
                    ask(Foreign([(code, out % sample if b"%" in out else out, err)]))
    finally:
        sys.setprofile(None)
    readers = set(_readers())
    assert sorted(readers - ran - set(ELSEWHERE)) == []
    assert sorted(set(ELSEWHERE) - readers) == [], "these read nothing, or are no more"


@pytest.mark.parametrize(
    "unit", [b"a", b" ", b"=", b'"', b"[", b"\\", b"\n", b"a: b\n", b"[a]\n", b'apparmor="DENIED" ']
)
def test_parser_of_foreign_bytes_takes_linear_time(unit: bytes) -> None:
    said, slow = unit * (50_000 // len(unit)), {}
    for name, (ask, _) in PARSERS.items():
        started = time.process_time()
        with suppress(RemediationError):
            ask(Foreign([(0, said, b"")]))
        slow[name] = time.process_time() - started
    # A quadratic one takes a quarter of a minute or more here; others take tenths of a second.
    assert {name: seconds for name, seconds in slow.items() if seconds > 3} == {}
