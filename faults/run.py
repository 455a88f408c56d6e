"""One fault: restore, inject, run the gate, compare. Used by pytest and by the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from faults import states
from faults.fault import COMPLIANT, CTID, RED, UNDETERMINED, Fault, shell
from faults.scenarios import scenarios
from lab.provision import REGISTRY
from steps import hello
from targets.errors import FactError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lab.machine import Lab
    from targets.transport import Transport

_ROOT = Path(__file__).parents[1]
_GATE_TIMEOUT = 1800.0
#: Options for speed: the plugin takes a second to import, long tracebacks take seconds to print.
_QUICKLY = ("-p", "no:hypothesispytest", "--tb=native")
#: The verdict for each of Allure's statuses.
_VERDICTS = {"passed": COMPLIANT, "failed": RED, "broken": UNDETERMINED, "skipped": UNDETERMINED}


@dataclass(frozen=True)
class Found:
    """The gate's verdict on one scenario, and its message."""

    verdict: str
    cause: str = ""


@dataclass(frozen=True)
class Problem:
    """A difference between the expected and the actual result, with its scenario's id if any."""

    scenario: str
    what: str

    def __str__(self) -> str:
        """As a sentence."""
        return f"{scenarios()[self.scenario].title!r} {self.what}" if self.scenario else self.what


@dataclass(frozen=True)
class Result:
    """The result of one fault.

    ``found`` maps each scenario's id to its verdict. ``problems`` lists the unexpected ones.
    ``unasked`` says why the gate could not be run.
    """

    fault: Fault
    found: Mapping[str, Found] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    seconds: float = 0.0
    unasked: str = ""

    def wrong(self, name: str) -> bool:
        """Whether a scenario's result is not the expected one."""
        return any(problem.scenario == name for problem in self.problems)

    @property
    def held(self) -> bool:
        """Whether every result is the expected one."""
        return not self.problems and not self.unasked


class Gate:
    """A run of the gate, which collects its scenarios and then waits for :meth:`ask`.

    Starting takes more than a second. The runner prepares the node in that time.

    Args:
        arguments: pytest's.
        results: the folder for Allure's results.
    """

    def __init__(self, *arguments: str, results: Path) -> None:
        argv = [sys.executable, "-m", "pytest", "-p", "faults.wait", *_QUICKLY, *arguments]
        argv += ["--no-report", f"--alluredir={results}", f"--junit-xml={results}/junit.xml"]
        pipe, self._results = subprocess.PIPE, results
        self._process = subprocess.Popen(
            argv, cwd=_ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def ask(self) -> tuple[subprocess.CompletedProcess[str], dict[str, dict[str, str]]]:
        """Run the scenarios.

        Returns:
            The finished process, and each scenario's status and message by title.

        Raises:
            TransportError: the gate did not end in time.
        """
        try:
            said = self._process.communicate("ask\n", timeout=_GATE_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise TransportError(f"the gate did not end within {_GATE_TIMEOUT:g} s") from error
        finally:
            self.end()
        argv, code = self._process.args, self._process.returncode
        done: subprocess.CompletedProcess[str] = subprocess.CompletedProcess(argv, code, *said)
        told = {}
        for path in self._results.glob("*-result.json"):
            result = json.loads(path.read_text())
            details = result.get("statusDetails") or {}
            told[result["name"]] = {
                "status": result["status"],
                "message": details.get("message", ""),
            }
        return done, told

    def end(self) -> None:
        """Kill the gate if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._process.wait()


def gate(
    *arguments: str, results: Path
) -> tuple[subprocess.CompletedProcess[str], dict[str, dict[str, str]]]:
    """Run the gate: see :class:`Gate`."""
    return Gate(*arguments, results=results).ask()


@contextmanager
def waiting_gate(names: Sequence[str], *options: str) -> Iterator[Callable[[], dict[str, Found]]]:
    """Start a gate for some scenarios; yield what runs them, and returns its verdicts by their ids.

    One gate runs them all, those that only look first. Two gates side by side would ask the node
    the same twice, and where two labs run, no processor is idle.

    Args:
        names: the scenarios' ids, in the order in which they run. Without any, no gate starts.
        options: for pytest, such as the target.

    Raises:
        FactError: by the yielded function: a scenario has no verdict.
    """
    if not names:
        yield dict
        return
    nodeids = [scenarios()[name].nodeid for name in names]
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        gate = Gate(*nodeids, *options, results=Path(folder))
        try:
            yield lambda: _verdicts(names, *gate.ask())
        finally:
            gate.end()


def ask(names: Sequence[str], *options: str) -> dict[str, Found]:
    """Start a gate and run the scenarios: see :func:`waiting_gate`."""
    with waiting_gate(names, *options) as run:
        return run()


def _verdicts(
    names: Sequence[str],
    done: subprocess.CompletedProcess[str],
    told: Mapping[str, Mapping[str, str]],
) -> dict[str, Found]:
    """Return the verdicts of a gate that has ended; raises FactError if one is missing."""
    _require_honest(done.returncode, [result["status"] for result in told.values()])
    found = {}
    for name in names:
        title = scenarios()[name].title
        if title not in told:
            words, code = done.stdout[-3000:] + done.stderr[-3000:], done.returncode
            raise FactError(f"the gate ended with {code} and said nothing of {title!r}:\n{words}")
        result = told[title]
        found[name] = Found(_VERDICTS.get(result["status"], UNDETERMINED), result["message"])
    return found


def _require_honest(code: int, statuses: Sequence[str]) -> None:
    """Raise FactError if the gate's exit code contradicts its verdicts."""
    red, green = "failed" in statuses, all(status == "passed" for status in statuses)
    allowed = {0} if green else {1, 2, 5} if red else {2, 3, 5, 6}
    if statuses and code not in allowed:
        raise FactError(f"the gate ended with {code} over verdicts that are {', '.join(statuses)}")


def compare(
    fault: Fault,
    found: Mapping[str, Found],
    ctid: int = CTID,
    *,
    before: Mapping[str, Found] | None = None,
) -> tuple[Problem, ...]:
    """Return the differences between the gate's verdicts and those that the fault must cause.

    Args:
        fault: the fault.
        found: the gate's verdicts, by the scenario's id.
        ctid: of the container under test.
        before: the verdicts without the fault. A scenario that was not compliant then may be so
            again.
    """
    problems = []
    for name, result in found.items():
        should = fault.expect[name].verdict if name in fault.expect else COMPLIANT
        was = (before or {}).get(name, Found(COMPLIANT)).verdict
        excused = name not in fault.expect and (name in fault.also or result.verdict == was)
        if result.verdict != should and not excused:
            cause = f": {_first_line(result.cause)}" if result.cause else ""
            problems.append(Problem(name, f"is {result.verdict}, and should be {should}{cause}"))
    for name in fault.expect:
        if name in found:
            problems += _unsaid(fault, name, found[name].cause, ctid)
        else:
            problems.append(Problem(name, "was not asked"))
    return tuple(problems)


def _unsaid(fault: Fault, name: str, cause: str, ctid: int) -> Iterator[Problem]:
    """Yield each word of a scenario's expectation that its message lacks."""
    wanted = fault.expect[name]
    names_the_cause = wanted.verdict == RED or name == next(iter(fault.expect))
    for number, word in enumerate(text.replace("{ctid}", str(ctid)) for text in wanted.words):
        if word not in (_first_line(cause) if names_the_cause and number == 0 else cause):
            yield Problem(name, f"does not say {word!r}, but: {cause}")


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")


def options(fault: Fault, place: str) -> tuple[str, ...]:
    """Return the gate's options. ``--target`` makes it take the lab in its present state."""
    return ("--target", place, *(() if fault.look else ("--allow-mutation",)))


def inject(fault: Fault, node: Transport, ctid: int = CTID) -> None:
    """Inject the fault.

    Raises:
        CommandFailed: the script of the injection failed.
    """
    if fault.image:
        script = (
            "cat >/tmp/other.tar; exec skopeo copy -q --dest-tls-verify=false "
            f"docker-archive:/tmp/other.tar docker://{REGISTRY}/{hello.REFERENCE}"
        )
        archive = hello.docker_archive(**fault.image)
        node.run(["sh", "-c", script], stdin=archive, timeout=120).require()
    shell(node, fault.inject, ctid).require(f"fault {fault.id}: {fault.title}")


def on_lab(fault: Fault, lab: Lab, *, everything: bool = False) -> Result:
    """Run one fault on the lab, from its snapshot.

    Args:
        fault: the fault.
        lab: up, with the snapshots that :func:`faults.states.prepare` makes.
        everything: run all scenarios, not only those that :meth:`Fault.asked` selects.
    """
    clock = time.monotonic()
    if fault.release and fault.release not in lab.state.templates:
        raise FactError(f"the node has no template of {fault.release}: python -m lab template")
    where = f"lab/{CTID}"
    with waiting_gate(fault.asked(everything=everything), *options(fault, where)) as ask_it:
        with states.restored(lab, fault.start) as node:
            inject(fault, node)
        found = ask_it()
    return Result(fault, found, compare(fault, found), time.monotonic() - clock)
