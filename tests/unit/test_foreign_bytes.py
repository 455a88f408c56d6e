"""No exception but our own leaves a reader of foreign bytes, whatever they are, and none is slow.

Readers are found, not listed: each parser by the sample that is named after it, every Then of the
features, every action of the plan, and every read of doctor. Only what none of these reaches is
named here. ``tests/data/foreign`` has what healthy machines answer.
"""

import importlib
import inspect
import io
import re
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from operator import mul
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from docker_lxc_gate.cli import printing
from docker_lxc_gate.commandline.json_output import json_line
from docker_lxc_gate.doctor import examine, upgrade
from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.facts import confinement, dockerd
from docker_lxc_gate.facts.audit import audit_files, audit_sources
from docker_lxc_gate.facts.denial import denial_groups, denial_log
from docker_lxc_gate.facts.denial.denial_answers import (
    danger,
    smallest_rule,
    wanted,
)
from docker_lxc_gate.facts.denial.denial_groups import Tally
from docker_lxc_gate.facts.prerequisites import affected
from docker_lxc_gate.formats import archive
from docker_lxc_gate.lint import fixes, formats
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import Kind, Source
from docker_lxc_gate.lint.rules.parser import Parser
from docker_lxc_gate.machines import root
from docker_lxc_gate.machines.lock import Lock
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.verdict import bundle
from remediation import docker_in_lxc
from remediation.edits import daemon_json
from remediation.engine import journal_format
from remediation.engine.journal import Journal
from tests.doubles import patient, upgrading
from tests.doubles.examples import examples, in_depth
from tests.doubles.foreign import Foreign
from tests.unit.steps import test_blind

Asked = Callable[[Transport], object]

SAMPLES = {
    path.name: path.read_bytes()
    for path in sorted((Path(__file__).parents[1] / "data/foreign").iterdir())
}
#: What a parser is given besides the foreign argument, by the parameter's name.
_GIVEN: dict[str, Any] = {
    "ctid": 950,
    "pid": 42,
    "init_pid": 42,
    "largest": 1 << 20,
    "path": "/etc/x",
    "directory": "/d",
    "archive": "/a.tar",
    "places": ("/srv",),
    "profile": "p",
    "policy": "f" * 64,
    "compiled": "e" * 64,
    "key": "net0",
    "what": "x",
    "source": "auditd",
    "service": "docker.service",
    "names": ["x.service"],
    "unit": "x.service",
    "attempts": ("kcore", "sysrq"),
    "digests": {bundle.RECORD: "0" * 64},
}
#: What the callers of a parser catch besides the errors of this project.
_CAUGHT = (
    archive.UnreadableArchive,
    bundle.archive.Unsound,
    denial_groups.Unreadable,
    journal_format.Unreadable,
)


def named(name: str) -> Any:
    """Return the function of a sample's name; None: there is none."""
    package, _, function = name.rpartition(".")
    try:
        return getattr(importlib.import_module(package), function, None)
    except ImportError:
        return None


def called(parser: Callable[..., object]) -> Asked:
    """Call a parser with what its annotation says that it takes: a text, bytes, or who answers."""
    parameters = inspect.signature(parser).parameters
    first = next(name for name in parameters if name not in {"path", "key"})
    kind = parameters[first].annotation.partition(" |")[0]
    others = {name: _GIVEN[name] for name in parameters if name != first and name in _GIVEN}

    def ask(on: Transport) -> None:
        given = {
            "str": lambda: on.run(["x"]).text,
            "bytes": lambda: on.run(["x"]).stdout,
            "CommandResult": lambda: on.run(["x"]),
            "Runtime": lambda: Pct(on),
        }.get(kind, lambda: on)()
        with suppress(*_CAUGHT, *[ValueError] * (parser is daemon_json.parse)):
            parser(**{first: given}, **others)

    return ask


def then(sentence: str) -> Asked:
    """Ask a Then, whose failure is a verdict; what testinfra raises makes it undetermined."""

    def ask(on: Transport) -> None:
        try:
            test_blind.ask("then", sentence, test_blind.world(0, on))
        except AssertionError:
            pass
        except Exception as error:
            if "/testinfra/" not in traceback.extract_tb(error.__traceback__)[-1].filename:
                raise

    return ask


def actions() -> Iterator[tuple[str, Asked]]:
    """Yield each question to each action of the plan."""
    for runtime in (Pct, Lxc):
        there = docker_in_lxc.plan(
            runtime(Foreign([(0, b"RUNNING\n", b"")])), 950, tell=lambda _: None
        )
        for step in there.steps:
            for verb in ("capture", "check", "require_reversible", "side_effects", "current"):
                ask: Any = getattr(step.action, verb)
                given = {"before": None} if verb == "side_effects" else {}
                yield f"{runtime.__name__} {step.action.id} {verb}", partial(ask, **given)


def _raw(on: Transport) -> patient.Raw:
    result = on.run(["x"])
    out, err = (text.decode("utf-8", "surrogateescape") for text in (result.stdout, result.stderr))
    return result.exit_code, out, err


def diagnosed(read: Read[Any], on: Transport) -> None:
    """Diagnose a container that is healthy but for one answer."""
    for config, pct in ((patient.CONFIG, True), ("lxc.apparmor.profile = generated\n", False)):
        found = patient.diagnosis({read: _raw(on)}, config=config, pct=pct)
        json_line([problem.cause for problem in found.problems])


def upgraded(read: Read[Any], on_node: bool, on: Transport) -> None:
    """Diagnose an upgrade in which one answer is foreign."""
    answer = {read: _raw(on)}
    for pct in (True, False):
        found = upgrading.upgraded(answer if on_node else {}, {} if on_node else answer, pct=pct)
        json_line([problem.cause for problem in found.problems])


def configured(on: Transport) -> None:
    """Diagnose a container whose configuration is foreign."""
    _, text, _ = _raw(on)
    for pct in (True, False):
        found = patient.diagnosis(config=text, pct=pct)
        json_line([problem.cause.encode(errors="replace") for problem in found.problems])


def linted(name: str, kinds: tuple[Kind, ...], on: Transport) -> None:
    """Lint the same bytes as files of these kinds, fix what is certain, and print the findings."""
    content = on.run(["bytes"]).stdout
    base, inside = ("/a", name) if Kind.PROFILE in kinds else ("", "")
    sources = [Source(f"/a/{name}", content, kind, base=base, inside=inside) for kind in kinds]
    found = check(sources, Parser(on))
    for wanted_fixes in fixes.certain(found).values():
        fixes.edited(content, wanted_fixes)
    json_line(formats.as_json(found[:200], sources))
    json_line(formats.as_sarif(found[:200]))
    formats.summary(found, sources)
    for finding in found[:200]:
        printing.finding(finding)


def explained(on: Transport) -> None:
    """Say everything about the denials in a log."""
    tally = Tally(lambda denial, _: denial_log.owner_by_name(denial))
    stream: Any = io.BytesIO(on.run(["x"]).stdout)
    tally.count(audit_files.lines(audit_files.decompressed(stream)))
    for group in tally.groups():
        wanted(group.denial.fields)
        danger(group.denial.fields)
        smallest_rule(group.denial)


def log_file(on: Transport) -> None:
    """Read a file as a log."""
    with NamedTemporaryFile() as file:
        file.write(on.run(["x"]).stdout)
        file.flush()
        with audit_files.opened(Path(file.name)) as stream:
            list(audit_files.lines(stream))


def of_docker(on: Transport) -> None:
    """Read what the engine says."""
    for kind in (dockerd.Info, dockerd.ContainerRecord):
        dockerd.read(on.run(["x"]).stdout, kind, "x")


def widened(on: Transport) -> None:
    """Read a profile's rules."""
    text = on.run(["x"]).text
    confinement.widening_rules(text, text, "lxc-phoenix-v2", shipped="")


#: Each parser that has a sample of its own, by module and name.
PARSERS = {
    name: parser
    for name in SAMPLES
    if name.startswith(("docker_lxc_gate.", "remediation.")) and callable(parser := named(name))
}
_RUNTIME = ("init_pid", "effective", "configuration", "started_with", "features", "state")
FOUND: dict[str, Asked] = {
    **{name: called(parser) for name, parser in PARSERS.items()},
    **{f"then {sentence}": then(sentence) for sentence in test_blind.THENS},
    **dict(actions()),
    **{
        f"doctor {number}": partial(diagnosed, read)
        for number, read in enumerate([*patient.NODE, *patient.GUEST])
    },
    **{
        f"upgrade {on_node} {number}": partial(upgraded, read, on_node)
        for on_node, reads in ((True, upgrading.ON_NODE), (False, upgrading.IN_CONTAINER))
        for number, read in enumerate(reads)
    },
    **{
        f"{runtime.__name__} {name}": lambda on, runtime=runtime, name=name: getattr(
            runtime(on), name
        )(950)
        for runtime in (Pct, Lxc)
        for name in (*_RUNTIME, "require_control")
    },
    "lint.container": partial(linted, "950.conf", (Kind.CONTAINER,)),
    "lint.lxc": partial(linted, "config", (Kind.LXC,)),
    "lint.profile": partial(linted, "lxc-docker", (Kind.PROFILE, Kind.CONTAINER)),
    "lint.daemon": partial(linted, "daemon.json", (Kind.DAEMON, Kind.UNIT)),
    "doctor.configuration": configured,
    "docker_lxc_gate.doctor.examine": lambda on: examine.examine(Pct(on), 950),
    "upgrade.examine": lambda on: upgrade.examine(Lxc(on), 950),
    "denial_groups.Tally": explained,
    "audit_files.opened": log_file,
    "audit_sources.text": lambda on: audit_sources.Records(on).text(),
    "docker_lxc_gate.facts.prerequisites.affected_plain": lambda on: affected(Lxc(on), "p", 950),
    "denial_log.running_under": lambda on: denial_log.running_under(on, "lxc-phoenix-v2"),
    "dockerd.read": of_docker,
    "confinement.widening_rules": widened,
    "journal.lines": lambda on: Journal(on, 950).entries(),
    "lock.owner": lambda on: Lock.of(on).owner(),
    "root.sudo": lambda on: root.as_root(on, sudo=True).run(["id"]),
}
#: What a text may be a long run of.
_UNITS = (
    *(b"a", b" ", b"\t ", b"=", b'"', b"'", b"[", b"{", b"\\", b"/", b"\n", b"a: b\n", b"[a]\n"),
    *(b"A=b\n", b"eyJ-", b'apparmor="DENIED" '),
)
#: What a reader may take of any MiB (seconds): more than a linear one on a busy machine, and a
#: hundredth of what a quadratic one takes.
_FLOOR = 12.0
_ODD = st.sampled_from(
    [
        *(b"\0", b"\n", b"\n\n", b"\r\n", b" ", b"\t", b"=", b":", b'"', b"[", b"]", b"{", b"}"),
        *(b",", b"\xff", b"\xc3", "\uff19\uff15\uff10".encode(), "\xb2".encode(), b"-1", b"1e999"),
        *(b"NaN", b"9" * 40, b"\\u0000", b'"\\ud800"', b"[" * 3000),
        *(b"0001-01-01T00:00:00Z", b"9999-99-99"),
    ]
)


@st.composite
def mutated(draw: st.DrawFn, sample: bytes) -> bytes:
    """A healthy answer with pieces left out, doubled, or replaced by what nobody expects."""
    text = sample
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 30)))
        kinds = (st.just(b""), _ODD, st.binary(max_size=8), st.just(text[start:end] * 2))
        text = text[:start] + draw(st.one_of(*kinds)) + text[end:]
    return text


def answers(name: str) -> st.SearchStrategy[list[tuple[int, bytes, bytes]]]:
    """Answers of a machine: exit code, standard output, standard error."""
    code = st.sampled_from([0, 0, 0, 1, 2, 127, 255])
    samples = [SAMPLES[name]] if name in SAMPLES else list(SAMPLES.values())
    healthy = st.sampled_from(samples)
    out = st.one_of(healthy.flatmap(mutated), healthy, st.binary(max_size=60), st.just(b""))
    return st.lists(st.tuples(code, out, st.one_of(st.just(b""), _ODD)), min_size=1, max_size=4)


@pytest.mark.parametrize("name", FOUND)
def test_reader_of_foreign_bytes_raises_only_our_own_errors(name: str) -> None:
    @settings(examples(30), suppress_health_check=list(HealthCheck))
    @given(said=answers(name))
    @example(said=[(0, b"", b"")])
    @example(said=[(0, b"[" * 100_000, b"")])
    @example(said=[(0, b"\xff" * 100, b"\xff")])
    @example(said=[(0, SAMPLES.get(name, b"") + b"\n== cut off in a heading", b"")])
    def fuzz(said: list[tuple[int, bytes, bytes]]) -> None:
        with suppress(RemediationError):
            FOUND[name](Foreign(said))

    fuzz()


def test_parsers_are_found_by_their_samples() -> None:
    assert len(PARSERS) > 40


def long_texts(sample: bytes, size: int) -> Iterator[Callable[[], bytes]]:
    """Yield what makes a text that careless parsers are slow with: a run, or a part repeated."""
    for unit in _UNITS:
        yield partial(mul, unit, size // len(unit))
    lines = sample.splitlines(keepends=True)
    for at in range(0, len(lines), max(1, len(lines) // 6)):
        head, tail = b"".join(lines[:at]), b"".join(lines[at + 1 :])
        count = size // (len(lines[at]) + 5)
        yield partial(b"".join, (head, *[lines[at]] * count, tail))
        yield partial(numbered, head, lines[at], tail, count)
    for mark in sorted(set(re.findall(rb"[^\w]", sample))):
        yield partial(sample.replace, mark, mark * size, 1)


def numbered(head: bytes, line: bytes, tail: bytes, count: int) -> bytes:
    """Repeat a line, its first word with another number each time."""
    word = re.compile(rb"\w+")
    copies = (word.sub(rb"\g<0>%d" % n, line, count=1) for n in range(count))
    return head + b"".join(copies) + tail


def seconds(name: str, text: bytes) -> float:
    """Return the time of the processor that a reader takes."""
    started = time.process_time()
    with suppress(RemediationError):
        FOUND[name](Foreign([(0, text, b"")]))
    return time.process_time() - started


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() & FOUND.keys()))
def test_parser_of_foreign_bytes_takes_linear_time(name: str) -> None:
    """Which texts are slow is seen at short ones; those are tried long, but never for hours."""
    sample = SAMPLES.get(name, b"")
    scouted, size = (1 << 14, 1 << 20) if in_depth() else (1 << 11, 1 << 15)
    took = [seconds(name, text()) for text in long_texts(sample, scouted)]
    number = max(range(len(took)), key=took.__getitem__)
    for length in (size // 8, size):
        plain = seconds(name, b"plain words in a line\n" * (length // 22))
        most = max(10 * plain, 2.0, _FLOOR * length / (1 << 20))
        text = next(islice(long_texts(sample, length), number, None))()
        assert seconds(name, text) < most or seconds(name, text) < most, text[:200]


@pytest.mark.laws
@pytest.mark.parametrize("unit", _UNITS)
def test_reader_of_foreign_bytes_takes_linear_time(unit: bytes) -> None:
    said = unit * (50_000 // len(unit))
    slow = {name: seconds(name, said) for name in FOUND.keys() - PARSERS.keys()}
    # A quadratic one takes a quarter of a minute or more here; others take tenths of a second.
    assert {name: each for name, each in slow.items() if each > 3} == {}
