"""Each generation of node and guest, from nothing: ``LAB_HOME=FOLDER python -m proof.matrix``.

A cell is a lab of one Debian release with a container of another. There ``plain`` judges what the
platform gives, and ``docker-in-lxc`` is applied, judged and rolled back, as ``prove`` does it.
``doctor`` is asked after the gate, and a row of docs/versions.md is printed. A cell that cannot be
built or judged is a row that says why.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TextIO

import click
from msgspec import structs

from docker_lxc_gate import patterns
from docker_lxc_gate.cli import judged, options, printing
from docker_lxc_gate.cli.prove import tried
from docker_lxc_gate.commandline import output
from docker_lxc_gate.doctor import upgrade
from docker_lxc_gate.doctor.examine import examine
from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.progress import told_to
from docker_lxc_gate.lab.recipe import template_name
from docker_lxc_gate.machines.runtime.waiting import wait_until_booted
from docker_lxc_gate.machines.target import parse
from docker_lxc_gate.printable import cut, one_line
from docker_lxc_gate.verdict.outputs.markdown import plain
from remediation.provision import PATIENCE

if TYPE_CHECKING:
    from docker_lxc_gate.doctor.case import Diagnosis
    from docker_lxc_gate.machines.transport import Transport
    from docker_lxc_gate.verdict.record import Run

RELEASES = ("bookworm", "trixie", "unstable")
#: A profile of one's own that includes container-base, as people wrote it until November 2025.
BASE = "lxc-with-container-base"
#: NODE/GUEST; with +SUITE, the guest's Docker is then upgraded in place to that suite's, and with
#: @PROFILE, the container gets that profile before.
CELLS = (
    *(f"{node}/{guest}" for node in RELEASES for guest in RELEASES),
    *("trixie/trixie+unstable", f"trixie/trixie+unstable@{BASE}"),
)
PLANS = ("plain", "docker-in-lxc")
VERSIONS = ("Kernel", "LXC", "AppArmor", "Docker")
HEAD = ("node/guest", *VERSIONS, "plan", "verdict", "why", "doctor")
_SHAPE = "NODE/GUEST[+SUITE][@PROFILE]"
_CELL = patterns.compile(r"[a-z]+/[a-z]+(\+[a-z]+)?(@[\w-]+)?")
_RULES = f"""\
#include <tunables/global>
profile {BASE} flags=(attach_disconnected,mediate_deleted) {{
  #include <abstractions/lxc/container-base>
  mount,
  umount,
  pivot_root,
}}
"""
_LOAD = 'printf %s "$2" >"/etc/apparmor.d/$1" && apparmor_parser -r "/etc/apparmor.d/$1"'
#: $1 is the container's file, $2 the profile, $3 the container.
_PROFILE = 'printf "lxc.apparmor.profile: %s\\n" "$2" >>"$1" && pct shutdown "$3" && pct start "$3"'
#: A mirror that keeps an old day has lists that expired, which would leave the forecast in doubt.
_LISTS = r"""
apt-get -q -o Acquire::Check-Valid-Until=false update
sed -i '/^Valid-Until:/d' /var/lib/apt/lists/*Release
"""
#: From the suite $2 come Docker and what it is made of, and all else from the release $1.
_SUITE = rf"""
set -eu
cd /etc/apt
sed -n "s/ $1 main$/ $2 main/p" sources.list.d/*.list >later
mv later sources.list.d/later.list
printf 'Package: %s\nPin: release a=%s\nPin-Priority: %s\n\n' '*' "$2" 100 \
    'docker.io docker-cli containerd runc' "$2" 990 >preferences.d/later
{_LISTS}"""
#: $1 is the text of apt's source.
_DOCKERS_OWN = r"""
set -eu
printf '%s\n' "$1" >/etc/apt/sources.list.d/docker.sources
apt-get -q -o Acquire::Check-Valid-Until=false update
DEBIAN_FRONTEND=noninteractive apt-get -qy install docker-ce docker-ce-cli containerd.io
"""
_UPGRADE = "DEBIAN_FRONTEND=noninteractive apt-get -qy dist-upgrade"
#: The limit for what apt prints (bytes).
_LONGEST = 64 << 20
#: The limit for a cause in a row (characters).
_CAUSE = 200


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cell", "cells", multiple=True, metavar=_SHAPE, help="Default: all.")
@click.option("--plan", "plans", multiple=True, type=click.Choice(PLANS), help="Default: both.")
@click.option(
    "--docker-from",
    type=click.File(),
    metavar="FILE.sources",
    help="Take docker-ce from this source of apt, with its key (deb822).",
)
def main(cells: Sequence[str], plans: Sequence[str], docker_from: TextIO | None) -> None:
    """Judge each cell from nothing, and print its rows of docs/versions.md."""
    if not (home := os.environ.get("LAB_HOME")):
        raise click.UsageError("each cell replaces the lab: name a folder for it (LAB_HOME=FOLDER)")
    if wrong := [cell for cell in cells if not _CELL.fullmatch(cell)]:
        raise click.UsageError(f"{wrong[0]!r} is no cell; expected {_SHAPE}, as in {CELLS[1]}")
    source = docker_from.read() if docker_from else ""
    keep_images(Path(home).absolute())
    print(_line(HEAD), _line(["---"] * len(HEAD)), sep="\n")
    for cell in cells or CELLS:
        for plan in plans or PLANS:
            print(_line(judge(cell, plan, source)), flush=True)


def keep_images(home: Path) -> None:
    """Keep the images of every release: behind a link, a lab removes none."""
    kept, images = home.with_name(f"{home.name}-images"), home / "images"
    for folder in (home, kept):
        folder.mkdir(parents=True, exist_ok=True)
    if not images.exists():
        images.symlink_to(kept)


def judge(cell: str, plan: str, source: str = "") -> list[str]:
    """Return a row: what became of a plan in a cell, or why nothing did.

    ``source`` is where the guest gets docker-ce from, as text of apt's; "" keeps Debian's Docker.
    """
    node, _, inside = cell.partition("/")
    inside, _, profile = inside.partition("@")
    guest, _, suite = inside.partition("+")
    doctor: list[str] = []
    template = f"local:vztmpl/{template_name(guest, 'docker')}"
    aim = structs.replace(parse("lab/950"), template=template, plan=plan)
    try:
        Lab.open(steps=told_to(printing.tell)).up(node, [guest]).restore()
        with TemporaryDirectory() as folder, options.opened(aim) as runtime:
            if profile == BASE:
                _run(runtime.node, _LOAD, BASE, _RULES)
            if suite:
                _run(runtime.node, f"set -e{_LISTS}")

            def created(ctid: int) -> None:
                if profile:
                    _run(runtime.node, _PROFILE, runtime.config_path(ctid), profile, f"{ctid}")
                    wait_until_booted(runtime.inside(ctid))
                if source:
                    _run(runtime.inside(ctid), _DOCKERS_OWN, source)
                if suite:
                    _run(runtime.inside(ctid), _SUITE, guest, suite)
                    forecast = named(upgrade.examine(runtime, ctid))
                    doctor.append(f"before the upgrade: {forecast}")
                    _run(runtime.inside(ctid), _UPGRADE)

            def asked(ctid: int) -> None:
                doctor.append(named(examine(runtime, ctid)))

            reports, applies = Path(folder), plan != "plain"
            code, differs = tried(
                runtime, aim, reports, applies=applies, created=created, asked=asked
            )
            run = judged.record(reports, code)
    except RemediationError as error:
        nothing = [""] * len(VERSIONS)
        return [cell, *nothing, plan, "not judged", one_line(str(error)), "; ".join(doctor)]
    return [cell, *told(plan, run, differs), "; ".join(doctor)]


def told(plan: str, run: Run, differs: Iterable[str]) -> list[str]:
    """Return what a run says in a row: versions, verdict, and the first line of each cause."""
    versions = run.targets[0].versions
    causes = []
    for cause, outcomes in run.causes.items():
        clauses = dict.fromkeys(clause for one in outcomes for clause in one.requirements)
        causes.append(f"{', '.join(clauses)}: {next(iter(cause.splitlines()), '')}")
    causes += [f"the node, afterwards: {difference}" for difference in differs]
    causes = [cut(cause, _CAUSE) for cause in causes]
    verdict = f"{run.verdict} ({run.scope})"
    return [*(versions.get(name, "") for name in VERSIONS), plan, verdict, "; ".join(causes)]


def named(diagnosis: Diagnosis) -> str:
    """Return what doctor names, and what it could not see and matters, with the reason."""
    words = [problem.id + " (advice)" * problem.is_advice for problem in diagnosis.problems]
    blind = [unseen for unseen in diagnosis.unseen if unseen.matters]
    words += [cut(f"could not see {unseen.what}: {unseen.why}", _CAUSE) for unseen in blind]
    return ", ".join(words) or "no problem"


def _run(machine: Transport, script: str, *arguments: str) -> None:
    argv = ["sh", "-c", script, "matrix", *arguments]
    machine.run(argv, timeout=PATIENCE, limit=_LONGEST).require()


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(plain, cells))} |"


if __name__ == "__main__":
    output.run(main, "python -m proof.matrix")  # SIGTERM, too, ends what it started
