"""What apparmor_parser says, and what is said where it is missing or cannot judge."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import Kind, Source
from docker_lxc_gate.lint.rules import parser
from docker_lxc_gate.lint.rules.parser import Parser
from docker_lxc_gate.machines.transport import Local, Transport
from tests.doubles.answering import Answering
from tests.doubles.naming import naming
from tests.doubles.programs.processes import gone, until

PROFILE = Source("/p/lxc-a", b"profile lxc-a {\n  file,\n}\n", Kind.PROFILE)
SAYS = "AppArmor parser error for /dev/stdin in profile"


def machine(code: int = 0, err: str = "") -> Answering:
    """Answers every command alike."""
    return Answering(lambda _: (code, b"", err.encode()), "a machine")


def said(*sources: Source, on: Transport) -> list[tuple[str, str, int, str]]:
    found = check(sources, Parser(on))
    return [(each.id, each.path, each.line, each.cause) for each in found]


def parser_says(text: str, source: Source = PROFILE) -> list[tuple[str, str, int, str]]:
    return said(source, on=machine(1, f"{text}\n"))


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        (f"{SAYS} /dev/stdin at line 3: syntax error", 3, "syntax error"),
        (f"{SAYS} /e/b at line 5: c", 0, "the parser blames /e/b, line 5: c"),
        (
            "Cache read/write disabled\nProfile /dev/stdin has conflicting modifiers",
            0,
            "apparmor_parser refuses it: Profile /p/lxc-a has conflicting modifiers",
        ),
    ],
)
def test_parsers_error_is_at_the_place_that_it_names(text: str, line: int, cause: str) -> None:
    assert parser_says(text) == [("profile-parse-error", "/p/lxc-a", line, cause)]


def test_include_of_another_machine_is_no_error_and_of_this_directory_is_one() -> None:
    text = (
        "AppArmor parser error for /dev/stdin in profile /dev/stdin at line 2: "
        "Could not open 'abstractions/x'"
    )
    assert [each[0] for each in parser_says(text)] == ["not-checked"]
    own = Source(PROFILE.path, PROFILE.content, PROFILE.kind, base="/p")
    assert [each[0] for each in parser_says(text, own)] == ["profile-parse-error"]


def test_tool_that_is_missing_is_said_once() -> None:
    other = Source("/p/lxc-b", PROFILE.content.replace(b"lxc-a", b"lxc-b"), Kind.PROFILE)
    assert said(PROFILE, other, on=machine(127)) == [
        (
            "not-checked",
            "/p/lxc-a",
            0,
            "apparmor_parser is not installed here: it has not checked this file and 1 more",
        )
    ]


def test_program_that_cannot_be_started_is_missing_too() -> None:
    error = TransportError("cannot run")
    error.__cause__ = FileNotFoundError()
    assert [each[0] for each in said(PROFILE, on=Answering(Mock(side_effect=error)))] == [
        "not-checked"
    ]
    with naming(TransportError, "gone"):
        said(PROFILE, on=Answering(Mock(side_effect=TransportError("gone"))))


def test_parser_is_given_the_directory_that_a_profile_is_in(tmp_path: Path) -> None:
    base = tmp_path
    (base / "abstractions").mkdir()
    (base / "abstractions/own").write_text("  network,\n")
    text = b"profile lxc-a {\n  include <abstractions/own>\n}\n"
    assert said(Source("/p/lxc-a", text, Kind.PROFILE, base=str(base)), on=Local()) == []
    (base / "abstractions/own").write_text("  netwurk,\n")
    ((rule, _, _, told),) = said(Source("/p/lxc-a", text, Kind.PROFILE, base=str(base)), on=Local())
    assert rule == "profile-parse-error"
    assert "abstractions/own, line 1" in told


Stub = Callable[[str, str], Path]
SLOW = "exec sleep 30"
STOPPED = "apparmor_parser did not end within 1 s"
LIMITED = "apparmor_parser reached its limit of 1 GiB or of 20 s"


@pytest.mark.parametrize(
    ("program", "rule", "why"),
    [
        (SLOW, "not-checked", STOPPED),
        ("kill -KILL $$", "not-checked", LIMITED),
        (f'echo "{parser._FULL.decode()}" >&2; exit 6', "not-checked", LIMITED),
        ("exit 1", "profile-parse-error", "refuses it: and says nothing"),
    ],
)
def test_profile_that_the_parser_could_not_judge_is_said(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, program: str, rule: str, why: str
) -> None:
    monkeypatch.setattr(parser, "_PATIENCE", 1.0 if program is SLOW else 20.0)
    stub("apparmor_parser", program)
    ((told, _, _, cause),) = said(PROFILE, on=Local())
    assert told == rule
    assert why in cause


def test_profiles_of_a_run_have_a_time_together_and_what_is_left_is_said(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parser, "_PATIENCE", 1.0)
    monkeypatch.setattr(parser, "_IN_ALL", 1.5)
    stub("apparmor_parser", SLOW)
    profiles = [
        Source(
            f"/p/lxc-{at}", PROFILE.content.replace(b"lxc-a", f"lxc-{at}".encode()), Kind.PROFILE
        )
        for at in "abcd"
    ]
    found = said(*profiles, on=Local())
    assert [(each[0], each[1]) for each in found] == [
        ("not-checked", f"/p/lxc-{at}") for at in "abcd"
    ]
    assert found[0][3] == STOPPED
    assert found[3][3].endswith("was not started: the profiles of a run have 1.5 s together")


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda how: how.name
)
def test_lint_that_is_ended_leaves_no_parser_running(
    stub: Stub, tmp_path: Path, how: signal.Signals
) -> None:
    mark = tmp_path / "pid"
    stub("apparmor_parser", f"echo $$ >{mark}.new; mv {mark}.new {mark}; exec sleep 60")
    (tmp_path / "lxc-a").write_bytes(PROFILE.content)
    argv = [sys.executable, "-m", "docker_lxc_gate", "lint", str(tmp_path / "lxc-a")]
    # A job in the background of a script ignores SIGINT, and so do its children.
    argv = ["env", "--default-signal", *argv]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as lint:
        until(mark.exists)
        lint.send_signal(how)
        lint.wait(20)
    assert gone(int(mark.read_text()))


@pytest.mark.parametrize(
    "name", ['"/etc/shadow"', "/etc/shadow", "</etc/shadow>", "if exists <../secret>"]
)
@pytest.mark.parametrize("on", [Local(), machine()], ids=["here", "a node"])
def test_parser_gets_no_profile_that_names_a_file_outside(name: str, on: Transport) -> None:
    text = f"profile lxc-a {{\n  include {name}\n}}\n".encode()
    ((rule, _, _, cause),) = said(replace(PROFILE, content=text), on=on)
    assert rule == "not-checked"
    assert cause.startswith("apparmor_parser did not get it: ")
    assert "leads out of /etc/apparmor.d" in cause


@pytest.mark.parametrize(
    "text",
    [
        "include if exists <local/absent>",
        "#include <linked.d/../local/own>",
        "# We include the rules of others, and abi, too.\n  file,",
    ],
)
def test_parser_gets_a_profile_that_stays_in_its_directory(tmp_path: Path, text: str) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "linked.d").mkdir()
    (tmp_path / "local/own").write_text("  network,\n")
    source = Source("/p/lxc-a", f"profile lxc-a {{\n  {text}\n}}\n".encode(), Kind.PROFILE)
    assert said(replace(source, base=str(tmp_path)), on=Local()) == []


@pytest.mark.parametrize(
    ("rule", "line"),
    [("netwurk inet,", 4), ("capability x y,", 4), ("mount fstype=,", 4), ("file,\n  }", 6)],
)
def test_profile_is_parsed_where_lxcs_abstractions_are_not_installed(rule: str, line: int) -> None:
    text = (
        "#include <tunables/global>\nprofile lxc-a {\n"
        "  #include <abstractions/lxc/container-base>\n  %s\n  file,\n}\n"
    )
    good = replace(PROFILE, content=(text % "network inet,").encode())
    assert said(good, on=Local()) == []
    found = said(replace(PROFILE, content=(text % rule).encode()), on=Local())
    assert found
    assert {each[0] for each in found} <= {"profile-parse-error", "profile-capability-unknown"}
    assert found[0][2] == line
