"""What the tools say, and what is said where one is missing or cannot judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lint.check import check
from lint.rules.tools import Tools
from lint.source import Kind, Source
from targets.errors import LimitExceeded, TransportError
from targets.transport import Local
from tests.doubles.answering import Answer, Answering
from tests.doubles.naming import naming

if TYPE_CHECKING:
    from targets.transport import Transport

PROFILE = Source("/p/lxc-a", b"profile lxc-a {\n  file,\n}\n", Kind.PROFILE)
SCRIPT = Source("/p/a.sh", b"#!/bin/bash\ntrue\n", Kind.SCRIPT)


def machine(code: int = 0, err: str = "", *, error: Exception | None = None) -> Answering:
    """Answers every command alike, or fails to run it."""

    def answer(_: list[str]) -> Answer:
        if error:
            raise error
        return code, b"[]", err.encode()

    return Answering(answer, "a machine")


def said(*sources: Source, on: Transport) -> list[tuple[str, str, int, str]]:
    found = check(sources, Tools(on))
    return [(each.id, each.path, each.line, each.cause) for each in found]


def parser_says(text: str, source: Source = PROFILE) -> list[tuple[str, str, int, str]]:
    return said(source, on=machine(1, f"{text}\n"))


def test_parsers_error_is_at_the_line_that_it_names() -> None:
    text = "AppArmor parser error for /dev/stdin in profile /dev/stdin at line 3: syntax error"
    assert parser_says(text) == [("profile-parse-error", "/p/lxc-a", 3, "syntax error")]


def test_error_in_an_included_file_names_that_file() -> None:
    text = (
        "AppArmor parser error for /dev/stdin in profile /etc/apparmor.d/tunables/home at line "
        "15: syntax error"
    )
    assert parser_says(text) == [
        (
            "profile-parse-error",
            "/p/lxc-a",
            0,
            "the parser blames /etc/apparmor.d/tunables/home, line 15: syntax error",
        )
    ]


def test_each_of_two_broken_profiles_is_an_error_of_its_own() -> None:
    broken = [
        Source(f"/p/lxc-{name}", f"profile lxc-{name} {{\n  {rule}\n}}\n".encode(), Kind.PROFILE)
        for name, rule in (("a", "netwurk,"), ("b", "file,"), ("c", "mount fstype=,"))
    ]
    found = said(*broken, on=Local())
    assert [each[:3] for each in found] == [
        ("profile-parse-error", "/p/lxc-a", 2),
        ("profile-parse-error", "/p/lxc-c", 2),
    ]


def test_include_of_another_machine_is_no_error_and_of_this_directory_is_one() -> None:
    text = (
        "AppArmor parser error for /dev/stdin in profile /dev/stdin at line 2: "
        "Could not open 'abstractions/x'"
    )
    assert [each[0] for each in parser_says(text)] == ["not-checked"]
    own = Source(PROFILE.path, PROFILE.content, PROFILE.kind, base="/p")
    assert [each[0] for each in parser_says(text, own)] == ["profile-parse-error"]


def test_another_refusal_is_told_without_the_copys_name() -> None:
    text = "Cache read/write disabled\nProfile /dev/stdin has conflicting modifiers"
    assert [each[3] for each in parser_says(text)] == [
        "apparmor_parser refuses it: Profile /p/lxc-a has conflicting modifiers"
    ]


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
    assert [each[0] for each in said(SCRIPT, on=machine(error=error))] == ["not-checked"] * 2
    with naming(TransportError, "gone"):
        said(SCRIPT, on=machine(error=TransportError("gone")))


def test_tool_that_does_not_end_is_said() -> None:
    error = LimitExceeded("m", ["bash"], "did not end within 60 s", late=True)
    found = said(PROFILE, on=machine(error=error))
    assert [each[3] for each in found] == ["apparmor_parser did not end within 60 s"]


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


def test_nothing_in_a_script_is_run(tmp_path: Path) -> None:
    mark = f"{tmp_path}/mark"
    text = f"touch {mark}\n$(touch {mark})\n: ${{x:=$(touch {mark})}}\ntrap 'touch {mark}' EXIT\n"
    check([Source("/p/a.sh", text.encode(), Kind.SCRIPT)], Tools(Local()))
    assert not Path(mark).exists()
