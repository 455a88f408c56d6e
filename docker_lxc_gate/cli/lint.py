"""``docker-lxc-gate lint``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from docker_lxc_gate.cli import consent, options, printing
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import print_json, with_form
from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.lint import discover, fixes, formats
from docker_lxc_gate.lint.check import check, few
from docker_lxc_gate.lint.rules.container_confinement import unneeded
from docker_lxc_gate.lint.rules.parser import Parser
from docker_lxc_gate.machines.regular_file import LARGEST
from docker_lxc_gate.machines.transport import Local
from docker_lxc_gate.printable import Notice, counted
from remediation.engine.action import Drift

if TYPE_CHECKING:
    from docker_lxc_gate.lint.discover import Found
    from docker_lxc_gate.lint.finding import Finding

#: What is linted on a node if nothing is named.
_DEFAULT = ("/etc/pve/lxc", "/etc/apparmor.d")


@click.command(cls=Verb)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@with_form(
    "sarif", meaning="How findings are printed: for people, for programs, or for code scanning."
)
@click.option(
    "--fix",
    is_flag=True,
    help="Fix what is certain: shows the difference, asks, and keeps a copy (.bak) of each file.",
)
@click.option("--needed", is_flag=True, help="Also name the lines that Docker does not need.")
@options.yes
def lint(
    paths: tuple[Path, ...],
    form: str,
    *,
    fix: bool,
    needed: bool,
    yes: bool,
) -> None:
    """Find what is wrong in files, before anything starts.

    PATH is a directory or a file: an /etc/pve/lxc or a copy of one, an /etc/apparmor.d, a profile,
    a daemon.json; or - for such a file on standard input. Without a PATH, lint takes /etc/pve/lxc
    and /etc/apparmor.d, if they exist. docs/lint.md explains each finding.

    Exit code 0: nothing, or advice only; 1: an error or a warning; 2: wrong usage, or a PATH that
    cannot be read (the others are linted); 3: --fix cannot write.
    """
    if fix and discover.PASTED in paths:
        raise UsageError("--fix changes files, and standard input is none")
    discovery, findings = _linted(paths)
    if fix and _fix(discovery, findings, yes=yes):
        discovery, findings = _linted(paths)
    if needed:
        findings += (finding for source in discovery.sources for finding in unneeded(source))
        findings.sort(key=lambda finding: (finding.path, finding.line))
    _print(list(few(findings)), discovery, form)
    for why in discovery.refused:
        printing.error(why)
    wrong = any(not finding.is_advice for finding in findings)
    sys.exit(2 if discovery.refused else int(wrong))


def _linted(paths: Sequence[Path]) -> tuple[Found, list[Finding]]:
    meant = paths or [Path(path) for path in _DEFAULT if Path(path).is_dir()]
    if not meant:
        raise UsageError(
            "name what to lint, such as a copy of a container's file (docker-lxc-gate lint "
            "950.conf); this is no Proxmox host, it has no /etc/pve/lxc"
        )
    pasted = options.standard_input().read(LARGEST + 1) if discover.PASTED in meant else b""
    discovery = discover.under(*meant, pasted=pasted)
    return discovery, [*discovery.findings, *check(discovery.sources, Parser(Local()))]


def _fix(discovery: Found, findings: Sequence[Finding], *, yes: bool) -> bool:
    """Fix what is certain, once the user has seen it and agreed; say whether anything was."""
    wanted = fixes.certain(findings)
    contents = {source.path: source.content for source in discovery.sources}
    after = {path: fixes.edited(contents[path], edits) for path, edits in wanted.items()}
    if not wanted:
        printing.tell(Notice("nothing can be fixed with certainty"))
        return False
    for path, content in after.items():
        drift = Drift("is fixed", contents[path], content)
        printing.difference(formats.named(path), drift, "is now", "will be", to=printing.err)
    if not (
        yes or consent.agreed(f"fix {counted(len(wanted), 'file')}?", "files would be changed")
    ):
        return False
    for path, content in after.items():
        copy = fixes.write(path, contents[path], content)
        printing.tell(Notice(f"{path} fixed; what was there is kept as {copy}"))
    return True


def _print(findings: Sequence[Finding], discovery: Found, form: str) -> None:
    if form == "json":
        print_json(formats.as_json(findings, discovery.sources, discovery.refused))
    elif form == "sarif":
        print_json(formats.as_sarif(findings))
    else:
        for finding in findings:
            printing.finding(finding)
        printing.line(formats.summary(findings, discovery.sources))
