"""The command line as a user meets it, as far as that needs no node."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from remediation.__main__ import main

COMMANDS = ("plan", "status", "apply", "rollback", "rehearse", "create", "journal")


@pytest.mark.parametrize("command", [*COMMANDS, "journal show", "journal export"])
def test_each_command_says_what_it_is_for(command: str) -> None:
    short, long = (CliRunner().invoke(main, [*command.split(), how]) for how in ("-h", "--help"))
    assert (short.exit_code, short.output) == (0, long.output)
    assert "Usage:" in long.output


def test_there_are_no_others() -> None:
    assert set(main.commands) == set(COMMANDS)


@pytest.mark.parametrize("command", [each for each in COMMANDS if each != "journal"])
def test_a_target_that_is_none_is_wrong_usage(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--target", "nowhere"])
    assert result.exit_code == 2
    assert "expected lab/CTID" in result.output


@pytest.mark.parametrize("command", ["plan", "status", "apply", "rollback"])
@pytest.mark.parametrize("asked", ["nonsense", "STEP-1.3", "STEP-", "VAL-1", ""])
def test_a_clause_without_an_action_is_wrong_usage_before_anybody_is_asked(
    command: str, asked: str
) -> None:
    """The port is one where nobody listens: to connect would be another error."""
    argv = [command, "--target", "x@127.0.0.1:1/950", "--only", "STEP-2", "--only", asked]
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: no action for {asked!r}; there are: "
        "STEP-1.1, STEP-1.2, STEP-2.1, STEP-2.2, STEP-3.1, STEP-3.2\n"
    )
