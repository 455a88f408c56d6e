"""``docker-lxc-gate bundle`` and ``verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from docker_lxc_gate.cli import printing
from docker_lxc_gate.commandline.exit_codes import Verb
from docker_lxc_gate.commandline.json_output import print_json, with_form
from docker_lxc_gate.verdict import bundle as bundles
from docker_lxc_gate.verdict.bundle import archive

if TYPE_CHECKING:
    from docker_lxc_gate.commandline.output import Console
    from docker_lxc_gate.verdict.record import Run

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


output = click.option(
    "--output",
    metavar="FILE.tar.zst",
    type=click.Path(path_type=Path),
    help="A new file.  [default: docker-lxc-gate-TIME.tar.zst, with the time of the run's end]",
)
sign = click.option(
    "--sign",
    "key",
    metavar="KEY",
    type=_FILE,
    help="Sign with this SSH key, or with the agent's if it is a public one.",
)


@click.command(cls=Verb)
@click.argument("report", metavar="REPORT", type=click.Path(path_type=Path, exists=True))
@output
@sign
def bundle(report: Path, output: Path | None, key: Path | None) -> None:
    """Keep a run in one file: verdict, evidence, page, and checksums.

    REPORT is the folder that a run wrote, reports/, or the verdict.json in it. docs/verdicts.md
    says what the file has. The same report makes the same bytes. ssh-keygen makes the signature.

    Exit code 0: the file was written, whatever the verdict; 2: wrong usage, REPORT lacks its record
    or evidence, the file exists, or KEY cannot sign; 3: there is no ssh-keygen.
    """
    keep(report, output, key)


def keep(
    report: Path,
    output: Path | None,
    key: Path | None,
    proof: bytes | None = None,
    *,
    to: Console = printing.out,
) -> tuple[Path, Run]:
    """Write the bundle of a run, with a ``proof.json``, and say so; return where, and the run."""
    run, files = bundles.report(report)
    files |= {"proof.json": proof} if proof else {}
    output = output or Path(f"docker-lxc-gate-{run.ended:%Y%m%dT%H%M%SZ}.tar.zst")
    archive.write(output, bundles.sealed(files, key))
    page = "" if bundles.PAGE in files else ", without an HTML page"
    signed = "signed" if key else "not signed"
    printing.line(f"{output}: {run.verdict}; asked: {run.scope}; {signed}{page}", to=to)
    return output, run


@click.command(cls=Verb)
@click.argument("bundle", metavar="BUNDLE", type=_FILE)
@click.option(
    "--allowed-signers",
    "signers",
    metavar="FILE",
    type=_FILE,
    help="Require a signature by one of these keys (ssh-keygen(1), ALLOWED SIGNERS).",
)
@with_form()
def verify(bundle: Path, signers: Path | None, form: str) -> None:
    """Say whether a bundle is as it was made, and as it was signed.

    It extracts nothing. Without --allowed-signers it checks nobody's signature: whoever changes a
    bundle can then make its checksums again.

    Exit code 0: the bundle is verified, whatever the verdict in it; 1: it is not as it was made or
    signed; 2: wrong usage; 3: there is no ssh-keygen.
    """
    result = bundles.verified(bundle, signers)
    run, ok = result.run, not result.problems
    about: dict[str, str] = {}
    if ok and run:
        gate = f"docker-lxc-gate {run.version}, commit {run.commit or 'unknown'}"
        about = {
            "verdict": f"{run.verdict}; asked: {run.scope} ({run.counts})",
            "targets": ", ".join(f"{t.name} ({t.plan})" for t in run.targets if t.name),
            "judged": f"{run.began:%Y-%m-%d %H:%M:%S} UTC by {run.user} on {run.machine}, {gate}",
            "signature": result.signature if signers else "",
        }
    if form == "json":
        trusted = ok and signers is not None
        print_json({"verified": ok, "trusted": trusted, "problems": result.problems, **about})
    else:
        rows = [("problem", problem, "red") for problem in result.problems]
        rows += [(name, text, "") for name, text in about.items()]
        head, style = ("verified", "green") if ok else ("NOT VERIFIED", "bold red")
        printing.entry(f"{bundle}: {head}", style, rows)
        if not signers:
            printing.line("nobody's signature was checked: name --allowed-signers", "yellow")
    sys.exit(0 if ok else 1)
