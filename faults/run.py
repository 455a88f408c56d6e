"""One fault: restore, inject, run the gate, compare. Used by pytest and by the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from faults import states
from faults.fault import CTID, PRELUDE, Fault
from faults.scenarios import scenarios
from targets.errors import FactError, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.machine import Lab
    from targets.transport import Transport

_ROOT = Path(__file__).parents[1]
_GATE_TIMEOUT = 1800.0
#: Options for speed: the plugin takes a second to import, long tracebacks take seconds to print.
_QUICKLY = ("-p", "no:hypothesispytest", "--tb=native")
COMPLIANT, RED, UNDETERMINED = "compliant", "not compliant", "undetermined"
#: The verdict for each of Allure's statuses.
_VERDICTS = {"passed": COMPLIANT, "failed": RED, "broken": UNDETERMINED, "skipped": UNDETERMINED}


@dataclass(frozen=True)
class Found:
    """The gate's verdict on one scenario, and its message."""

    verdict: str
    cause: str = ""


@dataclass(frozen=True)
class Problem:
    """A difference between the expected and the actual result, with its scenario if it has one."""

    title: str
    what: str

    def __str__(self) -> str:
        """As a sentence."""
        return f"{self.title!r} {self.what}" if self.title else self.what


@dataclass(frozen=True)
class Result:
    """The result of one fault.

    ``found`` maps each scenario's title to its verdict. ``problems`` lists the unexpected ones.
    ``unasked`` says why the gate could not be run.
    """

    id: str
    title: str
    expected: Mapping[str, str]
    found: Mapping[str, Found] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    seconds: float = 0.0
    unasked: str = ""

    @property
    def kills(self) -> tuple[str, ...]:
        """See :attr:`faults.fault.Fault.kills`."""
        red = tuple(title for title, verdict in self.expected.items() if verdict == RED)
        return red or tuple(self.expected)[:1]

    def wrong(self, title: str) -> bool:
        """Whether a scenario's result is not the expected one."""
        return any(problem.title == title for problem in self.problems)

    @property
    def held(self) -> bool:
        """Whether every result is the expected one."""
        return not self.problems and not self.unasked


def expected(fault: Fault) -> dict[str, str]:
    """Return the verdict that each named scenario must have."""
    return dict.fromkeys(fault.red, RED) | dict.fromkeys(fault.undetermined, UNDETERMINED)


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


class Questions:
    """A gate for some scenarios, started and waiting: see :class:`Gate`.

    One gate runs them all, those that only look first. Two gates side by side would ask the node
    the same twice, and where two labs run, no processor is idle.

    Args:
        titles: of the scenarios, in the order in which they run.
        options: for pytest, such as the target.
    """

    def __init__(self, titles: Sequence[str], *options: str) -> None:
        self._titles, self._options = titles, options
        self._gate: Gate | None = None
        self._running = ExitStack()

    def __enter__(self) -> Self:
        """Start the gate. Without a node id, pytest would run every scenario."""
        with ExitStack() as starting:
            folder = starting.enter_context(tempfile.TemporaryDirectory(prefix="faults-"))
            if self._titles:
                nodeids = [scenarios()[title].nodeid for title in self._titles]
                self._gate = Gate(*nodeids, *self._options, results=Path(folder))
                starting.callback(self._gate.end)
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the gate if it still runs."""
        self._running.close()

    def ask(self) -> dict[str, Found]:
        """Run the scenarios.

        Returns:
            The gate's verdicts, by title.

        Raises:
            FactError: a scenario has no verdict.
        """
        if self._gate is None:
            return {}
        done, told = self._gate.ask()
        _require_honest(done.returncode, [each["status"] for each in told.values()])
        found = {
            title: Found(_VERDICTS.get(said["status"], UNDETERMINED), said["message"])
            for title, said in told.items()
        }
        if missing := [title for title in self._titles if title not in found]:
            words, code = done.stdout[-3000:] + done.stderr[-3000:], done.returncode
            raise FactError(
                f"the gate ended with {code} and said nothing of {missing[0]!r}:\n{words}"
            )
        return found


def ask(titles: Sequence[str], *options: str) -> dict[str, Found]:
    """Start a gate and run the scenarios: see :class:`Questions`."""
    with Questions(titles, *options) as questions:
        return questions.ask()


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
        found: the gate's verdicts, by title.
        ctid: of the container under test.
        before: the verdicts without the fault. A scenario that was not compliant then may be so
            again.
    """
    wanted = expected(fault)
    problems = []
    for title, each in found.items():
        should = wanted.get(title, COMPLIANT)
        was = (before or {}).get(title, Found(COMPLIANT)).verdict
        if each.verdict == should or (title not in wanted and title in fault.also):
            continue
        if title not in wanted and each.verdict == was:
            continue
        said = f": {_first_line(each.cause)}" if each.cause else ""
        problems.append(Problem(title, f"is {each.verdict}, and should be {should}{said}"))
    problems += [Problem(title, "was not asked") for title in wanted if title not in found]
    for title, word, whole in _words(fault, ctid):
        if title in found:
            cause = found[title].cause
            if word not in (cause if whole else _first_line(cause)):
                problems.append(Problem(title, f"does not say {word!r}, but: {cause}"))
    return tuple(problems)


def _words(fault: Fault, ctid: int) -> list[tuple[str, str, bool]]:
    """Return (title, word, whether the word may stand outside the first line) for each word."""
    first = fault.named[0]
    words = [(first, word, number > 0) for number, word in enumerate(fault.words)]
    words += [(title, word, False) for title, word in zip(fault.red[1:], fault.beside, strict=True)]
    words += [(title, word, True) for title in fault.undetermined for word in fault.because]
    return [(title, word.replace("{ctid}", str(ctid)), whole) for title, word, whole in words]


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
    if callable(fault.inject):
        fault.inject(node)
        return
    argv = ["bash", "-c", PRELUDE + fault.inject, "fault", str(ctid)]
    node.run(argv, timeout=600).require(f"fault {fault.id}: {fault.title}")


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
    with Questions(fault.asked(everything=everything), *options(fault, where)) as questions:
        with states.restored(lab, fault.start) as node:
            inject(fault, node)
        found = questions.ask()
    problems = compare(fault, found)
    seconds = time.monotonic() - clock
    return Result(fault.id, fault.title, expected(fault), found, problems, seconds)
