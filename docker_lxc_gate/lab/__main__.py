"""``docker-lxc-gate lab``: the lab by hand."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from docker_lxc_gate.commandline.exit_codes import VerbGroup
from docker_lxc_gate.commandline.json_output import print_json, with_form
from docker_lxc_gate.commandline.output import Console
from docker_lxc_gate.lab import progress
from docker_lxc_gate.lab.errors import require_programs
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.node import READY
from docker_lxc_gate.lab.recipe import DEFAULT_RELEASE

if TYPE_CHECKING:
    from docker_lxc_gate.machines.ssh.address import SshAddress

    _Rows = Mapping[str, str | Sequence[str] | None]

#: What is printed for people of a row that has no value; of others it is "none".
_ABSENT = {"machine": "not running: docker-lxc-gate lab up"}


@click.group(cls=VerbGroup)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Build, boot and reset the nested-LXC CI VM.

    Everything lies below $LAB_HOME (default: ~/.cache/docker-lxc-gate). $LAB_MIRROR is the Debian
    archive to build from (default: apt's).
    """
    ctx.obj = Lab.open(steps=progress.on(Console(stderr=True)))


@main.command()
@click.option(
    "--release",
    default=DEFAULT_RELEASE,
    help=f"Debian release of the node (default: {DEFAULT_RELEASE}).",
)
@with_form()
@click.pass_obj
def up(lab: Lab, *, release: str, form: str) -> None:
    """Start the machine. Builds what is missing, uses what exists."""
    lab.up(release)
    _print(_state(lab), form)


@main.command()
@click.argument("release")
@with_form()
@click.pass_obj
def template(lab: Lab, *, release: str, form: str) -> None:
    """Make the node again, with the container templates of a Debian RELEASE as well."""
    lab.up(lab.node.state.release or DEFAULT_RELEASE, [release])
    _print(_state(lab), form)


@main.command()
@with_form()
@click.pass_obj
def status(lab: Lab, form: str) -> None:
    """Show machine, image, snapshots and templates. Exit code 3: no machine is running."""
    _print(_state(lab), form)
    sys.exit(0 if lab.node.running else 3)


@main.command(cls=click.Command, context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def ssh(lab: Lab, command: Sequence[str]) -> None:
    """Log in to the node, or run a COMMAND there (after "--")."""
    require_programs("ssh")
    argv = _ssh_argv(lab.node.address, command)
    os.execvp(argv[0], argv)  # noqa: S606 - this process becomes ssh: its terminal, its exit code


@main.command()
@click.argument("snapshot", default=READY)
@click.pass_obj
def reset(lab: Lab, snapshot: str) -> None:
    """Restore the node to a SNAPSHOT (default: as "up" left it)."""
    with lab.steps(f"restoring {snapshot}"):
        lab.restore(snapshot)


@main.command()
@click.argument("name")
@click.pass_obj
def snapshot(lab: Lab, name: str) -> None:
    """Keep the node as it is now, under NAME."""
    with lab.steps(f"snapshot {name}"):
        lab.snapshot(name)


@main.command()
@click.pass_obj
def down(lab: Lab) -> None:
    """Stop the machine; the next "up" continues from "ready"."""
    lab.down()


@main.command()
@click.option("--images", is_flag=True, help="Remove the images that were built as well.")
@click.pass_obj
def destroy(lab: Lab, images: bool) -> None:
    """Stop the machine and remove its disk."""
    lab.destroy(images=images)


def _ssh_argv(address: SshAddress, command: Sequence[str]) -> list[str]:
    options = {
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f'"{address.known_hosts}"',
        "GlobalKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
    }
    flat = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    where = ["-i", str(address.identity), "-p", str(address.port)]
    return ["ssh", "-F", "none", *flat, *where, f"{address.user}@{address.host}", *command]


def _state(lab: Lab) -> _Rows:
    state = lab.node.state
    return {
        "machine": str(lab.node.address) if lab.node.running else None,
        "image": state.image or None,
        "snapshots": lab.snapshots(),
        "templates": state.templates,
        "home": str(lab.home),
    }


def _print(rows: _Rows, form: str) -> None:
    if form == "json":
        print_json(rows)
        return
    for name, value in rows.items():
        words = [value] if isinstance(value, str) else value or [_ABSENT.get(name, "none")]
        click.echo(f"{name:<10} {', '.join(words)}")
