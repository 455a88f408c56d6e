"""A hostile string, sent through every exit of the command line."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.text import Text

from commandline.json_output import json_line
from commandline.output import Console, run
from remediation.cli import printing
from remediation.cli.consent import consent
from remediation.cli.group import Commands
from remediation.engine.action import Outcome, Step
from targets.drift import Drift
from targets.errors import ChangedSince, FactError, UsageError
from targets.printable import cut, in_json, one_line, printable
from tests.doubles.flag import ON, Flag
from tests.doubles.naming import naming

#: Clears the screen, writes the clipboard, turns the reading, and forges a verdict four ways.
HOSTILE = (
    "\x1b[2J\x1b]52;c;aGk=\x07\x9b31m\u202eevil\u2066\u200f\u061c\x00\x7f"
    "\nverdict: compliant\rverdict: compliant\u2028verdict: compliant\x0bverdict: compliant\udcff"
)
OBEYED = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\r\nb\tc\n", "a\nb\tc\n"),
        ("a\rb\x9bc\x7f", r"a\x0db\x9bc\x7f"),
        (
            "\u202e\u2066\u200e\u200f\u061c\u2028\u2029",
            r"\u202e\u2066\u200e\u200f\u061c\u2028\u2029",
        ),
        ("\udcff\ud800", r"\xff\ud800"),
        ("Grüße, 你好 …", "Grüße, 你好 …"),
        ("", ""),
    ],
)
def test_printable_escapes_what_is_obeyed_and_nothing_else(raw: str, shown: str) -> None:
    assert printable(raw) == shown
    assert printable(shown) == shown
    assert not OBEYED.search(printable(raw))


def test_printable_of_every_character_leaves_none_that_is_obeyed() -> None:
    every = "".join(map(chr, range(0x11000)))
    assert not OBEYED.search(printable(every))
    assert not re.search(r"[\n\t]", one_line(every))


def test_one_line_forges_no_other() -> None:
    assert one_line("a\nb\r\nc\td") == r"a\nb\nc d"
    assert len(one_line(HOSTILE).splitlines()) == 1


def test_cut_says_how_much_it_left_out() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc… (1 more characters)"


@pytest.mark.parametrize("what", ["x" * (1 << 20), "x\n" * (1 << 19)], ids=["a line", "lines"])
def test_console_of_a_megabyte_shows_its_beginning(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A guest may say so much, and a reader wants the rest to be found."""
    printing.error(what)
    printing.line(what)
    printing.tell(what)
    printing.journal("journal", [{"at": what, "ctid": 950, "kind": "applied"}])
    said = capsys.readouterr()
    assert len(said.out + said.err) < 100_000
    assert "more characters)" in said.out
    assert "more characters)" in said.err


def test_diff_of_many_lines_is_not_made() -> None:
    """It takes minutes where each line is often in the other text."""
    many = b"".join(b"%d\n" % (n * n % 150) for n in range(300_000))
    began = time.monotonic()
    said = printing.diff(Drift("x", many, many[::-1]), "is", "should be")
    assert time.monotonic() - began < 10
    assert said == "--- is: 300000 lines\n+++ should be: 300001 lines, too many to compare"


def test_in_json_is_the_same_value() -> None:
    value = {"a\x9b": ["\u202e", "\x7f\n", "ü"]}
    text = in_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(text) == value
    assert not OBEYED.search(text)
    assert "ü" in text


def drift() -> Drift:
    raw = HOSTILE.encode(errors="surrogateescape")
    return Drift(HOSTILE, raw, b"should")


def changed_since() -> None:
    raise ChangedSince({HOSTILE: drift()})


def failed() -> None:
    raise FactError(HOSTILE) from FactError(HOSTILE)


def journalled() -> None:
    line = {"at": "now", "ctid": 950, "kind": "before", "action": HOSTILE, "machine": HOSTILE}
    printing.journal("path", [line])


class _Plan:
    not_checked = (HOSTILE,)
    journal = SimpleNamespace(ctid=950)


EXITS: dict[str, Any] = {
    "tell": lambda: printing.tell(HOSTILE),
    "line": lambda: printing.line(HOSTILE),
    "error": failed,
    "error with changes": changed_since,
    "diff": lambda: printing.difference(HOSTILE, drift(), "is", "should be"),
    "outcomes": lambda: printing.outcomes(
        [Outcome("one", HOSTILE, "VAL-1", changed=True, reason=HOSTILE)], as_json=False
    ),
    "outcomes in JSON": lambda: printing.outcomes(
        [Outcome("one", "\x9b\u202e\x1b", "VAL-1", changed=True, reason="\x7f")], as_json=True
    ),
    "status": lambda: printing.status(
        [(Step(Flag("one"), ON), drift())],
        {},
        unfinished=None,
        torn=False,
        busy=HOSTILE,
        plan=_Plan(),  # type: ignore[arg-type]
        as_json=False,
    ),
    "not checked": lambda: printing.not_checked(_Plan()),  # type: ignore[arg-type]
    "journal": journalled,
    "prompt": lambda: consent([HOSTILE], yes=True),
    "export": lambda: click.echo(json_line({"text": "\x9b\u202e\x7f"})),
}


@pytest.mark.parametrize("terminal", [False, True], ids=["to a pipe", "to a terminal"])
@pytest.mark.parametrize("leave", EXITS.values(), ids=EXITS)
def test_hostile_text_leaves_no_exit_raw(
    leave: Any, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("out", "err"):
        to = Console(stderr=name == "err", highlight=False, force_terminal=terminal, width=100)
        monkeypatch.setattr(printing, name, to)

    command = click.command()(leave)
    group = Commands(commands={"leave": command})
    said = CliRunner().invoke(group, ["leave"])
    text = said.output
    assert said.exception is None or isinstance(said.exception, SystemExit)
    assert text.strip()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text) if terminal else text
    assert not OBEYED.search(plain), ascii(plain)
    assert not [line for line in text.splitlines() if line.startswith("verdict")], ascii(plain)


def test_hostile_text_in_a_fault_of_our_own_is_not_raw(capfd: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def broken() -> None:
        raise ValueError(HOSTILE)

    with pytest.raises(SystemExit):
        run(broken, "python -m broken")
    assert not OBEYED.search(capfd.readouterr().err)


def test_console_keeps_its_own_styles() -> None:
    to = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=40)
    to.print(Text("red\x1b[2J", style="red"))
    assert to.file.getvalue() == "\x1b[31mred\\x1b[2J\x1b[0m\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("stdin", [None, "closed"])
def test_consent_without_an_input_is_refused_in_words(
    stdin: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdin", closed if stdin else None)
    with naming(UsageError, "--yes"):
        consent(["it restarts"], yes=False)


def test_consent_at_the_end_of_the_input_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(click.Abort):
        consent(["it restarts"], yes=False)
