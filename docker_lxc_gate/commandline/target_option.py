"""``--target`` and ``--target-file`` for a click command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.machines.target import DEFAULT, EXPECTED, Target

_P = ParamSpec("_P")
#: What to type where a target must be named.
_TRIES = (
    "root@pve1/950    # a Proxmox host, by SSH",
    "local/950        # on the Proxmox host itself",
    f"{DEFAULT}          # the lab: a VM, built and booted if needed",
)
#: A target in place of another argument.
_WORD = patterns.compile(r"[^\s/-][^\s/]*/(?:all|[0-9]+)")
_Command = TypeVar("_Command", bound="Callable[..., None]")


def target_options(more: str) -> Callable[[_Command], _Command]:
    """Return a decorator that adds ``where`` and ``file``; ``more`` ends the help of --target."""
    target = click.option(
        "--target", "where", metavar="T", help=f"{EXPECTED}, or a name in the target file{more}"
    )
    file = click.option(
        "--target-file",
        "file",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        metavar="TOML",
        help="File of targets, by name.",
    )
    return lambda command: target(file(command))


def means_target(word: str) -> bool:
    """Whether an argument without ``--target`` before it can only mean a target."""
    return bool(_WORD.fullmatch(word)) and not Path(word).exists()


def aimed(where: str | None, file: Path | None) -> Target:
    """Return the target that both options mean; one that is not ends the program with 2."""
    try:
        return target_file.find(where, file)
    except UsageError as error:
        raise click.UsageError(str(error)) from error


def named(where: str | None, file: Path | None) -> Target:
    """Return the target that both options mean; none ends the program with 2, and what to type."""
    if where is None and file is None:
        called = click.get_current_context().command_path
        tries = "".join(f"\n  {called} --target {target}" for target in _TRIES)
        raise click.UsageError(f"name the container that is meant, by a --target:{tries}")
    return aimed(where, file)


def with_target(command: Callable[Concatenate[Target, _P], None]) -> Callable[_P, None]:
    """Give a function below ``@command()`` both options, and its target first, as :func:`named`."""

    @functools.wraps(command)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> None:
        where, file = kwargs.pop("where"), kwargs.pop("file")
        command(named(where, file), *args, **kwargs)  # type: ignore[arg-type]  # click's own kwargs

    return target_options(".  [required]")(wrapper)
