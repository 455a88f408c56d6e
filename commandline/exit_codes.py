"""An error ends a command line with its own exit code and its text, never with a traceback."""

from __future__ import annotations

import sys
from typing import Any

import click

from targets.errors import RemediationError

#: What every command of this project is made with.
SETTINGS = {"help_option_names": ["-h", "--help"]}
#: As a shell has it: 128, and the signal's number. Click would end with 1, which is a verdict.
_INTERRUPTED = 130


class Command(click.Command):
    """A command that says an error in its own words, and ends with that error's exit code.

    Attributes:
        interrupted: what is said after Ctrl-C.
    """

    interrupted = "interrupted"

    def say(self, what: RemediationError | str) -> None:
        """Say an error, or that the user interrupted, on standard error."""
        raise NotImplementedError

    def invoke(self, ctx: click.Context) -> Any:
        """See click."""
        try:
            return super().invoke(ctx)
        except RemediationError as error:
            self.say(error)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            self.say(self.interrupted)
            sys.exit(_INTERRUPTED)


class Group(Command, click.Group):
    """The same of commands with one name."""
