"""``docker-lxc-gate create``."""

from __future__ import annotations

import click

from docker_lxc_gate.cli import options, printing
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import print_json, with_form
from docker_lxc_gate.machines.target import Target
from remediation import plan_file, provision


@click.command(cls=Verb)
@with_form()
@options.with_plan
def create(aim: Target, form: str) -> None:
    """Create and start the container from the target file's template.

    An existing container is an error. If the new container cannot be started, it is destroyed
    again. No other command here destroys it; use pct destroy.
    """
    with options.opened(aim) as runtime:
        argv = aim.creation(aim.ctid, features=plan_file.find(aim.plan).features)
        provision.create(runtime, aim.ctid, argv, printing.tell)
        provision.boot_created(runtime, aim.ctid)
    if form == "json":
        print_json({"ctid": aim.ctid, "state": "running"})
        return
    printing.out.print(
        f"container {aim.ctid} is running, without the plan. Now, with the same --target: "
        "docker-lxc-gate apply",
        soft_wrap=True,
    )
