"""One fault: inject it, run the gate, compare. :mod:`proof.faults.chain` does this on the lab."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from docker_lxc_gate.errors import FactError, TransportError
from docker_lxc_gate.lab.docker_images import hello
from docker_lxc_gate.lab.provision import REGISTRY
from docker_lxc_gate.machines.transport import Transport
from proof.faults.fault import COMPLIANT, CTID, RED, UNDETERMINED, Fault, shell
from proof.faults.scenarios import scenarios

_ROOT = Path(__file__).parents[2]
_GATE_TIMEOUT = 1800.0
#: Options for speed: the plugin takes a second to import, long tracebacks take seconds to print.
_QUICKLY = ("-p", "no:hypothesispytest", "--tb=native")
#: The verdict for each of Allure's statuses.
_VERDICTS = {"passed": COMPLIANT, "failed": RED, "broken": UNDETERMINED, "skipped": UNDETERMINED}


@dataclass(frozen=True)
class ScenarioVerdict:
    """The gate's verdict on one scenario, and its message."""

    verdict: str
    cause: str = ""


@dataclass(frozen=True)
class Mismatch:
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
    ``unasked`` says why the gate could not be run, ``restored`` why the lab's snapshot was restored
    although the fault has a rollback.
    """

    fault: Fault
    found: Mapping[str, ScenarioVerdict] = field(default_factory=dict)
    problems: tuple[Mismatch, ...] = ()
    seconds: float = 0.0
    unasked: str = ""
    restored: str = ""

    def wrong(self, name: str) -> bool:
        """Whether a scenario's result is not the expected one."""
        return any(problem.scenario == name for problem in self.problems)

    @property
    def held(self) -> bool:
        """Whether every result is the expected one."""
        return not self.problems and not self.unasked


class GateProcess:
    """One process that runs scenarios as often as it is asked: see :mod:`proof.faults.serve`.

    It starts, imports and collects while the runner prepares the node. ``options`` are pytest's,
    such as the target.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the process, unless it runs."""
        if self._process:
            return self
        self._folder = tempfile.TemporaryDirectory(prefix="faults-")
        self._results, self._log = Path(self._folder.name), tempfile.TemporaryFile(buffering=0)
        self._channel, its_own = socket.socketpair()
        self._channel.settimeout(_GATE_TIMEOUT)
        argv = argv_of(self._results, "features", *self._options, "-p", "proof.faults.serve")
        out = self._log.fileno()
        with its_own:  # a group of its own, so that all of its processes can be killed
            self._process = subprocess.Popen(
                argv, cwd=_ROOT, stdin=its_own.fileno(), stdout=out, stderr=out, process_group=0
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the process and its forks."""
        if self._process:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            self._channel.close()
            self._log.close()
            self._folder.cleanup()

    def ask(self, names: Sequence[str]) -> dict[str, ScenarioVerdict]:
        """Run scenarios in the order of their ids, and return their verdicts.

        One run has them all, those that only look first. Two gates side by side would ask the node
        the same twice, and where two labs run, no processor is idle.

        Raises:
            TransportError: the gate did not end in time.
            FactError: a scenario has no verdict.
        """
        if not names:
            return {}
        with ExitStack() as failed:  # the next call starts another process
            failed.push(self.__enter__())
            code = self._run([scenarios()[name].nodeid for name in names])
            found = _verdicts(names, code, told_in(self._results), self._said())
            failed.pop_all()
        return found

    def _run(self, nodeids: Sequence[str]) -> int:
        self._log.seek(0)  # the gate's processes write where this file is
        self._log.truncate()
        for path in self._results.iterdir():
            path.unlink()
        try:
            with self._channel.makefile("rw") as lines:
                print(json.dumps(nodeids), file=lines, flush=True)
                answer = lines.readline()
        except TimeoutError as error:
            raise TransportError(f"the gate did not end within {_GATE_TIMEOUT:g} s") from error
        except ConnectionError:
            answer = ""
        if not answer:
            raise FactError(f"the gate did not run:\n{self._said()}")
        return int(answer)

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-6000:]


def argv_of(results: Path, *arguments: str) -> list[str]:
    """Return the command that runs the gate, with Allure's results in a folder."""
    argv = [sys.executable, "-m", "pytest", *_QUICKLY, *arguments, "--no-report"]
    return [*argv, f"--alluredir={results}", f"--junit-xml={results}/junit.xml"]


def told_in(results: Path) -> dict[str, dict[str, str]]:
    """Return each scenario's status and message, by title, from Allure's results."""
    told = {}
    for path in results.glob("*-result.json"):
        result = json.loads(path.read_text())
        message = (result.get("statusDetails") or {}).get("message", "")
        if result["status"] != "skipped":  # else it was not asked
            told[result["name"]] = {"status": result["status"], "message": message}
    return told


def _verdicts(
    names: Sequence[str], code: int, told: Mapping[str, Mapping[str, str]], said: str
) -> dict[str, ScenarioVerdict]:
    """Return the verdicts of a run that has ended; raises FactError if one is missing."""
    _require_honest(code, [result["status"] for result in told.values()])
    found = {}
    for name in names:
        title = scenarios()[name].title
        if title not in told:
            raise FactError(f"the gate ended with {code} and said nothing of {title!r}:\n{said}")
        result = told[title]
        verdict = _VERDICTS.get(result["status"], UNDETERMINED)
        found[name] = ScenarioVerdict(verdict, result["message"])
    return found


def _require_honest(code: int, statuses: Sequence[str]) -> None:
    """Raise FactError if the gate's exit code contradicts its verdicts."""
    red, green = "failed" in statuses, all(status == "passed" for status in statuses)
    allowed = {0} if green else {1, 2, 5} if red else {2, 3, 5, 6}
    if statuses and code not in allowed:
        raise FactError(f"the gate ended with {code} over verdicts that are {', '.join(statuses)}")


def compare(
    fault: Fault,
    found: Mapping[str, ScenarioVerdict],
    ctid: int = CTID,
    *,
    before: Mapping[str, ScenarioVerdict] | None = None,
) -> tuple[Mismatch, ...]:
    """Return the differences between the gate's verdicts and those that the fault must cause.

    ``found`` are the gate's, by the scenario's id; ``before``, those without the fault. A scenario
    that was not compliant then may be so again.
    """
    problems = []
    for name, result in found.items():
        should = fault.expect[name].verdict if name in fault.expect else COMPLIANT
        was = (before or {}).get(name, ScenarioVerdict(COMPLIANT)).verdict
        excused = name not in fault.expect and (name in fault.also or result.verdict == was)
        if result.verdict != should and not excused:
            cause = f": {_first_line(result.cause)}" if result.cause else ""
            problems.append(Mismatch(name, f"is {result.verdict}, and should be {should}{cause}"))
    for name in fault.expect:
        if name in found:
            problems += _unsaid(fault, name, found[name].cause, ctid)
        else:
            problems.append(Mismatch(name, "was not asked"))
    return tuple(problems)


def _unsaid(fault: Fault, name: str, cause: str, ctid: int) -> Iterator[Mismatch]:
    """Yield each word of a scenario's expectation that its message lacks."""
    wanted = fault.expect[name]
    names_the_cause = wanted.verdict == RED or name == next(iter(fault.expect))
    for number, word in enumerate(text.replace("{ctid}", str(ctid)) for text in wanted.words):
        if word not in (_first_line(cause) if names_the_cause and number == 0 else cause):
            yield Mismatch(name, f"does not say {word!r}, but: {cause}")


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")


def options(fault: Fault, place: str) -> tuple[str, ...]:
    """Return the gate's options. ``--target`` makes it take the lab in its present state."""
    may_change = () if fault.look else ("--allow-mutation",)
    return ("--target", place, "--plan", fault.plan.name, *may_change)


def inject(fault: Fault, node: Transport, ctid: int = CTID) -> None:
    """Inject the fault; raises CommandFailed if its script failed."""
    if fault.image:
        script = (
            "cat >/tmp/other.tar; exec skopeo copy -q --dest-tls-verify=false "
            f"docker-archive:/tmp/other.tar docker://{REGISTRY}/{hello.REFERENCE}"
        )
        archive = hello.docker_archive(**fault.image)
        node.run(["sh", "-c", script], stdin=archive, timeout=120).require()
    shell(node, fault.inject, ctid).require(f"fault {fault.id}: {fault.title}")
