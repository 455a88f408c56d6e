"""A hostile string, sent through every exit of the command line."""

import io
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import click
import pytest
from click.testing import CliRunner

from docker_lxc_gate.cli import doctor as doctor_verb
from docker_lxc_gate.cli import journal as journal_verb
from docker_lxc_gate.cli import lint as lint_verb
from docker_lxc_gate.cli import plan as plan_verb
from docker_lxc_gate.cli import printing
from docker_lxc_gate.cli.consent import consent
from docker_lxc_gate.cli.group import Verbs
from docker_lxc_gate.cli.group import main as verbs
from docker_lxc_gate.commandline.output import Console, error_text, run
from docker_lxc_gate.doctor.case import Diagnosis, Unseen, here
from docker_lxc_gate.errors import FactError, UsageError
from docker_lxc_gate.lint.discover import Found
from docker_lxc_gate.lint.finding import Kind, Source
from docker_lxc_gate.masking import STARS
from docker_lxc_gate.printable import one_line, printable
from remediation.engine.action import Drift, Place, Step, StepOutcome
from remediation.engine.errors import ChangedSince, RollbackFailed, VerifyFailed
from remediation.engine.journal_entries import JournalEntry, JournalImage, Life
from steps.machines import teller
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
        ("a\r\nb\tc\n", "a\nb\tc\n"),
        ("a\rb\x9bc\x7f", r"a\x0db\x9bc\x7f"),
        ("\u202e\udcff\ud800", r"\u202e\xff\ud800"),
        ("Grüße, 你好 …", "Grüße, 你好 …"),
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


def test_text_of_several_lines_has_no_command_for_githubs_runner() -> None:
    shown = "\n  ".join((r":\x3aa::b", "\t" + r":\x3ac", r"+::d #\x23[e"))
    assert error_text("::a::b\n\t::c\n+::d ##[e") == shown


@pytest.mark.laws
@pytest.mark.parametrize("what", ["x" * (1 << 20), "x\n" * (1 << 19)], ids=["a line", "lines"])
def test_console_of_a_megabyte_shows_a_part(what: str, capsys: pytest.CaptureFixture[str]) -> None:
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
    began = time.process_time()
    said = printing.diff(Drift("x", many, many[::-1]), "is", "should be")
    assert time.process_time() - began < 10
    assert said == "--- is: 300000 lines\n+++ should be: 300001 lines, too many to compare"


def drift(text: str) -> Drift:
    return Drift(text, text.encode(errors="surrogateescape"), b"should")


def raised(error: Exception, because: Exception | None = None) -> None:
    raise error from because


class _Plan:
    journal = SimpleNamespace(ctid=950, plan="")
    container_exists = True

    def __init__(self, text: str) -> None:
        self.not_checked = (text,)
        self.found = [(Step(Flag("one"), ON), drift(text))]

    def drifts(self) -> list[tuple[Step, Drift]]:
        return self.found


def called(verb: click.Command, *options: str) -> None:
    verb.main([*options, "--target", "root@pve1/950"], standalone_mode=False)


def plan(text: str, *options: str) -> None:
    """Run ``plan`` on a machine that differs by the text."""
    opened = nullcontext((None, lambda: _Plan(text)))
    with (
        patch.object(plan_verb.options, "planned", lambda *_: opened),
        patch.object(plan_verb, "apply_side_effects", lambda _: [text]),
    ):
        called(plan_verb.plan, *options)


def journalled(text: str, verb: click.Command, *options: str) -> None:
    """Run a verb where an action of the journal has the text as its id and in its before-image."""
    line = {"at": "now", "ctid": 950, "kind": "before", "action": text, "machine": text}
    line |= {"state": {"content": text}}
    read = SimpleNamespace(path="path", lines=lambda: [line], whole=lambda line: line)
    with patch.object(journal_verb, "_journal", lambda _: nullcontext((read, None))):
        called(verb, *options)


def status(text: str, *, form: str) -> None:
    stands: Any = _Plan(text)
    entries = {text: JournalEntry(text, Place.NODE, (JournalImage(None),), Life.APPLIED)}
    printing.status(
        stands.drifts(), entries, unfinished=None, torn=False, busy=text, plan=stands, form=form
    )


def outcomes(text: str, *, form: str) -> None:
    found = [StepOutcome("one", text, "VAL-1", changed=True, reason=text)]
    printing.outcomes(found, form)


def diagnosed(text: str, form: str) -> None:
    """Run ``doctor`` where all that it found is the text."""
    cause = here("container-frozen", text, fix=text)
    found = Diagnosis((cause,), (Unseen("a thing", text),))
    node = SimpleNamespace(node=SimpleNamespace(machine="pve1"))
    with (
        patch.object(doctor_verb, "opened", lambda _: nullcontext(node)),
        patch.object(doctor_verb, "examine", lambda *_: found),
    ):
        called(doctor_verb.doctor, "--format", form)


def linted(text: str, form: str) -> None:
    """Run ``lint`` where all that it found is the text."""
    found = Source(text, b"", Kind.DAEMON).at("json-syntax", 1, text, column=1, fix=text)
    with patch.object(lint_verb, "_linted", lambda _: (Found([]), [found])):
        lint_verb.lint.main(["--format", form], standalone_mode=False)


#: What a text of a guest may leave the command line by.
EXITS: dict[str, Callable[[str], Any]] = {
    "tell": printing.tell,
    "line": printing.line,
    "error": lambda text: raised(FactError("it failed"), FactError(text)),
    "cause of an error": lambda text: raised(FactError(text), FactError("it failed")),
    "error with changes": lambda text: raised(ChangedSince({text: drift(text)})),
    "rollback that failed": lambda text: raised(RollbackFailed([(text, VerifyFailed(text))])),
    "diff": lambda text: printing.difference(text, drift(text), "is", "should be"),
    "outcomes": lambda text: outcomes(text, form="text"),
    "outcomes in JSON": lambda text: outcomes(text, form="json"),
    "status": lambda text: status(text, form="text"),
    "status in JSON": lambda text: status(text, form="json"),
    "plan": plan,
    "plan in JSON": lambda text: plan(text, "--json"),
    "not checked": lambda text: printing.not_checked(_Plan(text)),  # type: ignore[arg-type]
    "journal": lambda text: journalled(text, journal_verb.show),
    "journal in JSON": lambda text: journalled(text, journal_verb.show, "--json"),
    "prompt": lambda text: consent([text], yes=True),
    "export": lambda text: journalled(text, journal_verb.export),
    **{f"doctor in {form}": partial(diagnosed, form=form) for form in ("text", "json")},
    **{f"lint in {form}": partial(linted, form=form) for form in ("text", "json", "sarif")},
}
JSON = [name for name in EXITS if name.endswith(("JSON", "json", "sarif"))]


def leaving(text: str, name: str, monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> str:
    """Return all that is printed if a text leaves by an exit."""
    for stream in ("out", "err"):
        to = Console(stderr=stream == "err", highlight=False, force_terminal=terminal, width=100)
        monkeypatch.setattr(printing, stream, to)
    leave = EXITS[name]
    command = click.command()(lambda: leave(text))
    monkeypatch.setattr(Verbs, "get_command", lambda *_: command)
    said = CliRunner().invoke(Verbs(), ["leave"])
    assert said.exception is None or isinstance(said.exception, SystemExit), said.exception
    assert said.output.strip()
    return said.output


@pytest.mark.parametrize("terminal", [False, True], ids=["to a pipe", "to a terminal"])
@pytest.mark.parametrize("name", EXITS)
def test_hostile_text_leaves_no_exit_raw_and_a_planted_secret_none(
    name: str, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # JSON has no byte that is not UTF-8.
    hostile = HOSTILE.removesuffix("\udcff") if name in {*JSON, "export"} else HOSTILE
    text = leaving(f"http://u:hunter2@p {hostile}", name, monkeypatch, terminal=terminal)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text) if terminal else text
    assert not OBEYED.search(plain), ascii(plain)
    assert not [line for line in text.splitlines() if line.startswith("verdict")], ascii(plain)
    assert "hunter2" not in plain
    assert STARS in plain


def texts(value: Any) -> Iterator[str]:
    """Yield every text of a document, its keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from texts(each)


@pytest.mark.parametrize("name", JSON)
def test_hostile_text_in_json_is_not_raw_to_who_decodes_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = HOSTILE.removesuffix("\udcff")
    decoded = list(texts(json.loads(leaving(hostile, name, monkeypatch, terminal=False))))
    assert [ascii(each) for each in decoded if OBEYED.search(each)] == []
    assert any("evil" in each for each in decoded)


def test_plan_of_a_secret_that_changes_shows_that_it_changes() -> None:
    proxies = '{{\n  "proxies": {{\n    "http-proxy": "http://u:{}@p:3128"\n  }}\n}}\n'
    is_, should = (proxies.format(password).encode() for password in ("hunter2", "correcthorse"))
    shown = printing.diff(Drift("x", is_, should), "is", "should be").splitlines()
    masked = f'    "http-proxy": "http://u:{STARS}@p:3128"'
    assert [line for line in shown[2:] if line[0] in "+-"] == [f"-{masked}", f"+{masked}"]


_RECORD = (
    'type=AVC msg=audit(1764000000.1:1): apparmor="DENIED" operation="open" class="file" '
    'profile="lxc-phoenix-v2" name="/srv/token=hunter2/x" pid=7 comm="cat" requested_mask="r" '
    'denied_mask="r" fsuid=100000 ouid=100000\n'
)


def test_denials_mask_sentences_and_leave_rules_as_they_are() -> None:
    """A masked rule is another rule."""

    def said(*options: str) -> str:
        return CliRunner().invoke(verbs, ["denials", "-", *options], input=_RECORD).output

    assert STARS in said()
    assert "hunter2" not in said()
    rule = 'owner "/srv/token=hunter2/x" r,'
    assert rule in said("--suggest")
    [denial] = json.loads(said("--format", "json"))["denials"]
    assert STARS in denial["sentence"]
    exact = ("rule", "fields")
    assert "hunter2" not in str({k: v for k, v in denial.items() if k not in exact})
    assert denial["rule"] == rule


def test_gate_tells_of_provisioning_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = SimpleNamespace(ensure_newline=lambda: None, write_line=print)
    plugins = SimpleNamespace(getplugin={"terminalreporter": reporter}.get)
    tell = teller(SimpleNamespace(pluginmanager=plugins))
    tell(f"pct create 950 t.tar --password hunter2{HOSTILE}")
    told = capsys.readouterr().out
    assert "hunter2" not in told
    assert not OBEYED.search(told)
    assert STARS in told


def test_foreign_text_in_a_fault_of_our_own_is_not_raw(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["broken"])

    @click.command()
    def broken() -> None:
        raise ValueError(f"{HOSTILE} http://u:hunter2@p")

    with pytest.raises(SystemExit) as ended:
        run(broken, "python -m broken")
    said = capfd.readouterr().err
    assert (ended.value.code, "python -m broken" in said.splitlines()[-1]) == (3, True)
    assert "ValueError" in said
    assert not OBEYED.search(said)
    assert "hunter2" not in said


def test_consent_without_an_input_is_refused_in_words_and_at_its_end_a_no(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = io.StringIO()
    closed.close()
    for stdin in (None, closed):
        monkeypatch.setattr(sys, "stdin", stdin)
        with naming(UsageError, "--yes"):
            consent(["it restarts"], yes=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(click.Abort):
        consent(["it restarts"], yes=False)
