"""The commands of all command lines: an option once, and the options that all have."""

from __future__ import annotations

from typing import Any

import click
from typing_extensions import override

from docker_lxc_gate.commandline.output import screen_option


class Once(click.Command):
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


class Verb(Once):
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
