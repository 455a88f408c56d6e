"""Errors of a command line: each ends it with its own message and exit code, not a traceback."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any, NoReturn

import click
from typing_extensions import override

from docker_lxc_gate.commandline.json_output import print_json_error
from docker_lxc_gate.commandline.output import error_text, screen_option
from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.machines.process import interrupted_by

#: The click settings of every command.
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
#: As in a shell: 128 + SIGINT. Click would exit with 1, which is a verdict.
_INTERRUPTED = 130
#: Of an error that leaves changes in place: worse than an interruption.
_LEFT_CHANGED = 5


class _Once(click.Command):
    """Refuses an option that is given twice and takes one value, where click drops the first.

    Otherwise a script that names two targets would take the verdict on one for that on both.
    """

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            _, _, given = self.make_parser(ctx).parse_args([*args])
            for param in given:
                once = isinstance(param, click.Option) and not param.multiple and not param.is_flag
                if once and (times := given.count(param)) > 1:
                    advice = f"run {ctx.command_path} once for each"
                    raise click.UsageError(f"{param.opts[0]} is given {times} times: {advice}")
        return super().parse_args(ctx, args)


class Verb(_Once):
    """A command with the options that all have."""

    def __init__(self, name: str | None, **more: Any) -> None:
        super().__init__(name, **more)
        if any(param.name == "where" for param in self.params):
            self.params.append(
                screen_option("--verbose", "-v", help="Print each command that is run.")
            )
        self.params += [
            screen_option("--quiet", "-q", help="Print no progress."),
            screen_option("--no-color", help="Print no colours; so does $NO_COLOR."),
        ]


class VerbGroup(click.Group):
    """A group of them."""

    command_class = Verb


class ProgramGroup(_Once, VerbGroup):
    """A program: it prints an error's message, and ends with the error's exit code."""

    def say(self, what: RemediationError | str) -> None:
        """Print an error, or the message after Ctrl-C, on standard error."""
        click.echo(f"error: {error_text(what)}", err=True)

    def interruption(self, _ctx: click.Context) -> str:
        """Return the message after Ctrl-C."""
        return "interrupted"

    def invoke(self, ctx: click.Context) -> Any:
        """See click."""
        try:
            return super().invoke(ctx)
        except RemediationError as error:
            self._end(ctx, error, error.exit_code)
        except KeyboardInterrupt as interrupt:
            if isinstance(failed := interrupt.__context__, RemediationError):  # and then it came
                if failed.exit_code == _LEFT_CHANGED:
                    self._end(ctx, failed, failed.exit_code)
                with suppress(OSError):
                    self.say(failed)
            self._end(ctx, self.interruption(ctx), interrupted_by() or _INTERRUPTED)
        except BrokenPipeError as error:  # not of our output: click would exit with 1
            raise RuntimeError("a pipe broke") from error

    def _end(self, ctx: click.Context, why: RemediationError | str, code: int) -> NoReturn:
        with suppress(OSError):  # a terminal that is gone
            self.say(why)
        print_json_error(ctx, why)
        sys.exit(code)
