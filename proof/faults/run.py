"""One fault: inject it, run the gate, compare."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.lab.docker_images import hello
from docker_lxc_gate.lab.provision import REGISTRY
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.verdict.record import Outcome, Run
from proof.faults.fault import COMPLIANT, CTID, RED, Fault, shell
from proof.faults.scenarios import scenarios

_ROOT = Path(__file__).parents[2]
_GATE_TIMEOUT = 1800.0
#: A pipe that fails, and a variable without a value, fail the injection, too.
STRICT = "set -u -o pipefail\n"


def inject(fault: Fault, node: Transport, ctid: int = CTID) -> None:
    """Inject the fault; raises CommandFailed if its script failed, or changed nothing."""
    if fault.image:
        script = (
            "cat >/tmp/other.tar; exec skopeo copy -q --dest-tls-verify=false "
            f"docker-archive:/tmp/other.tar docker://{REGISTRY}/{hello.REFERENCE}"
        )
        archive = hello.docker_archive(**fault.image)
        node.run(["sh", "-c", script], stdin=archive, timeout=120).require()
    done = shell(node, f"{STRICT}{fault.inject}\nchanged", ctid)
    own = replace(done, argv=(fault.inject,))  # an error shows what the row has, not all helpers
    own.require(f"fault {fault.id} had no effect: {fault.title}")


def unmarked(fault: Fault, node: Transport, ctid: int = CTID) -> list[str]:
    """Return the problem if the fault left no mark while the scenarios ran."""
    if not fault.effect or shell(node, fault.effect, ctid).ok:
        return []
    return [f"fault {fault.id} had no effect: after the scenarios, this failed: {fault.effect}"]


def ask(names: Sequence[str], *options: str) -> dict[str, Outcome]:
    """Run scenarios, and return their outcomes, by id. Some may not apply to the target."""
    return {outcome.id: outcome for outcome in asked(names, *options).scenarios}


def asked(names: Sequence[str], *options: str) -> Run:
    """Run scenarios, and return the record.

    ``options`` are the gate's. Raises FactError if the gate left no record, or its exit code is not
    that of the record.
    """
    with TemporaryDirectory(prefix="faults-") as folder:
        results = Path(folder)
        argv = [sys.executable, "-m", "pytest", *(scenarios()[name].nodeid for name in names)]
        argv += [*options, "--no-report", f"--alluredir={results}"]
        argv += [f"--junit-xml={results / 'junit.xml'}"]
        done = subprocess.run(
            argv,
            cwd=_ROOT,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GATE_TIMEOUT,
            check=False,
        )
        output = (done.stdout + done.stderr)[-6000:]
        try:
            run = msgspec.json.decode((results / "verdict.json").read_bytes(), type=Run)
        except FileNotFoundError:
            code = done.returncode
            raise FactError(f"the gate ended with {code}, and left no record:\n{output}") from None
    green = all(outcome.verdict == COMPLIANT for outcome in run.asked)
    if done.returncode != run.code or green != (run.code == 0):
        raise FactError(f"the gate ended with {done.returncode}, against its record:\n{output}")
    return run


def options(fault: Fault, *place: str) -> tuple[str, ...]:
    """Return the gate's options. ``place`` has a target, so the gate takes it as it stands."""
    may_change = () if fault.look else ("--allow-mutation",)
    return (*place, "--plan", fault.plan.name, *may_change)


def compare(
    fault: Fault,
    outcomes: Mapping[str, Outcome],
    ctid: int = CTID,
    *,
    before: Mapping[str, Outcome] | None = None,
) -> list[str]:
    """Return the differences between the gate's verdicts and those that the fault must cause.

    ``outcomes`` are the gate's, by the scenario's id; ``before``, those without the fault. A
    scenario that was not compliant then may be so again.
    """
    problems = []
    for name, outcome in outcomes.items():
        should = fault.expect[name].verdict if name in fault.expect else COMPLIANT
        was = before[name].verdict if before and name in before else COMPLIANT
        excused = name not in fault.expect and (name in fault.also or outcome.verdict == was)
        if outcome.verdict != should and not excused:
            cause = f": {_first_line(outcome.cause)}" if outcome.cause else ""
            problems.append(f"{_title(name)} is {outcome.verdict}, and should be {should}{cause}")
    for name in fault.expect:
        if name in outcomes:
            problems += _unsaid(fault, name, outcomes[name].cause, ctid)
        else:
            problems.append(f"{_title(name)} was not asked")
    return problems


def _unsaid(fault: Fault, name: str, cause: str, ctid: int) -> Iterator[str]:
    """Yield each word of a scenario's expectation that its message lacks."""
    wanted = fault.expect[name]
    names_the_cause = wanted.verdict == RED or name == next(iter(fault.expect))
    for number, word in enumerate(text.replace("{ctid}", str(ctid)) for text in wanted.words):
        if word not in (_first_line(cause) if names_the_cause and number == 0 else cause):
            yield f"{_title(name)} does not say {word!r}, but: {cause}"


def _title(name: str) -> str:
    return repr(scenarios()[name].title)


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")
