"""Errors of a command line: each ends it with its own message and exit code, not a traceback."""

from __future__ import annotations

import sys
from typing import Any

import click

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.machines.process import interrupted_by

#: The click settings of every command.
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
#: As in a shell: 128 + SIGINT. Click would exit with 1, which is a verdict.
_INTERRUPTED = 130


class Command(click.Command):
    """A command that prints an error's message, and ends with the error's exit code.

    Attributes:
        interrupted: the message after Ctrl-C.
    """

    interrupted = "interrupted"

    def say(self, what: RemediationError | str) -> None:
        """Print an error, or the message after Ctrl-C, on standard error."""
        raise NotImplementedError

    def interruption(self, _ctx: click.Context) -> str:
        """Return the message after Ctrl-C."""
        return self.interrupted

    def invoke(self, ctx: click.Context) -> Any:
        """See click."""
        try:
            return super().invoke(ctx)
        except RemediationError as error:
            self.say(error)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            self.say(self.interruption(ctx))
            sys.exit(interrupted_by() or _INTERRUPTED)
        except BrokenPipeError as error:  # not of our output: click would exit with 1
            raise RuntimeError("a pipe broke") from error


class Group(Command, click.Group):
    """The same for a group of commands."""
