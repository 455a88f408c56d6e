"""A run in shards: ``--shard`` judges a part of the nodes, and ``--merge`` makes one run of all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.machines.fleet import ALL
from docker_lxc_gate.verdict import comparison, record
from docker_lxc_gate.verdict.claim import closed_to_others, place
from docker_lxc_gate.verdict.record import HOLDS, UNKNOWN, Outcome, Shard, Target, Verdict
from docker_lxc_gate.verdict.requirements import CATALOGUE
from docker_lxc_gate.verdict.session import not_judged
from docker_lxc_gate.verdict.waivers import GIVEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from docker_lxc_gate.verdict.record import Expected, Run
    from docker_lxc_gate.verdict.session import Gate

#: The records to merge, each with its shard, by file.
_MERGED = pytest.StashKey["dict[Path, tuple[Shard, Run]]"]()
#: What all shards of one run have in common.
_COMMON: Mapping[str, Callable[[Shard, Run], object]] = {
    "versions of the gate": lambda _, run: (run.version, run.commit),
    "numbers of shards": lambda shard, _: shard.of,
    "targets or plans": lambda shard, _: shard.expected,
    "waivers": lambda _, run: [each.waiver for each in run.waivers],
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--shard`` and ``--merge``."""
    group = parser.getgroup("gate", "acceptance gate")
    group.addoption(
        "--shard",
        action="append",
        default=[],
        metavar="K/N",
        help="judge only the targets of every N-th node, from the K-th on (docs/targets.md)",
    )
    group.addoption(
        "--merge",
        action="append",
        default=[],
        metavar="DIR",
        help="judge nothing, and make one record of those of all shards (docker-lxc-gate merge)",
    )


def asked(config: pytest.Config) -> tuple[int, int]:
    """Return which shard of how many is asked for: 1 of 1 without ``--shard``.

    Raises:
        UsageError: there is no such shard.
    """
    given = [*config.getoption("--shard"), "1/1"][0]
    match = patterns.fullmatch(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})", given)
    if match is None or int(match[1]) > int(match[2]):
        raise UsageError(f"--shard {given}: write K/N, with K from 1 to N, as --shard 2/3")
    return int(match[1]), int(match[2])


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the records to merge; what is wrong is a usage error before anything is replaced."""
    known = config.stash.setdefault(_MERGED, {})
    try:
        for path in map(Path, config.getoption("--merge")):
            file = path / "verdict.json" if path.is_dir() else path
            run = comparison.read(file)
            comparison.require_later(config, run.began)
            if run.shard is None:
                raise pytest.UsageError(
                    f"{file} is no record of a shard: run the gate with --shard"
                )
            if file.parent.resolve() == place(config)[0].resolve():
                raise pytest.UsageError(
                    f"{file} would be replaced: name another folder by --output"
                )
            for other, (shard, before) in known.items():
                for what, of in _COMMON.items():
                    if of(shard, before) != of(run.shard, run):
                        raise pytest.UsageError(
                            f"{other} and {file} are of two runs: the {what} differ"
                        )
                if shard.number == run.shard.number:
                    raise pytest.UsageError(f"{other} and {file} are both of shard {shard.number}")
            known[file] = run.shard, run
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> bool | None:
    """Collect nothing for a merge, or for a shard without a node."""
    config = session.config
    gate, merged = config.pluginmanager.get_plugin("gate-session"), config.stash.get(_MERGED, {})
    shard = config.stash.get(record.SHARD, None)
    if gate and merged:
        _take(config, gate, dict(sorted(merged.values(), key=lambda each: each[0].number)))
        for file in merged:
            _copy_evidence(comparison.results(file), Path(config.option.allure_report_dir))
    elif gate and shard and shard.is_empty:
        gate.tally.codes.add(HOLDS)
    return bool(merged or (shard and shard.is_empty)) or None


def _copy_evidence(results: Path, into: Path) -> None:
    for each in results.iterdir():
        if comparison.MADE(each.name) and each.is_file() and not each.is_symlink():
            with closed_to_others():
                shutil.copyfile(each, into / each.name)


def _take(config: pytest.Config, gate: Gate, shards: dict[Shard, Run]) -> None:
    """Let the gate conclude as if it had run what the shards ran."""
    runs, run, (one, *_) = [*shards.values()], gate.run, shards
    run.version, run.commit = runs[0].version, runs[0].commit
    cleans = {each.clean for each in runs}
    run.clean = None if None in cleans else all(cleans)
    for name in ("command", "user", "machine"):
        setattr(run, name, "; ".join(dict.fromkeys(getattr(each, name) for each in runs)))
    run.began, run.ended = min(each.began for each in runs), max(each.ended for each in runs)
    run.problems += [problem for each in runs for problem in each.problems]
    lacking = dict(_lacking(one, shards))
    targets = [target for each in runs for target in each.targets]
    targets += [Target(each.name, each.plan) for each in lacking]
    # As the command line names them: first targets, and then each node's containers.
    order = {each.node: at for at, each in enumerate(one.expected) if each.name.endswith(ALL)}
    names = {each.name: at for at, each in enumerate(one.expected)}
    targets.sort(key=lambda each: names.get(each.name, order.get(each.node, len(names))))
    nodes = sorted((n for each in runs for n in each.nodes), key=lambda each: names[each.node])
    config.stash[record.TARGETS] = {each.name: each for each in targets}
    config.stash[record.NODES] = {each.node: each for each in nodes}
    config.stash[record.MAY_DIFFER] = {k: v for r in runs for k, v in r.may_differ.items()}
    config.stash[GIVEN] = tuple(each.waiver for each in runs[0].waivers)
    outcomes = [outcome for each in runs for outcome in each.scenarios]
    if len(targets) > 1:  # as in a run of several
        outcomes = [structs.replace(each, included="") for each in outcomes]
    gate.expect([*outcomes, *(_missing(each, why, run) for each, why in lacking.items())])
    gate.tally.codes |= {each.code for each in runs}
    for number in sorted({*range(1, one.of + 1)} - {each.number for each in shards}):
        if number not in {each.shard for each in lacking}:
            not_judged(config, f"shard {number} of {one.of} is missing; it has no node")


def _lacking(one: Shard, shards: Mapping[Shard, Run]) -> Iterator[tuple[Expected, str]]:
    """Yield what no shard has, and why: a node that could not be listed is a problem of its run."""
    there = {shard.number: run for shard, run in shards.items()}
    for each in one.expected:
        name = f"shard {each.shard} of {one.of}"
        if (run := there.get(each.shard)) is None:
            yield each, f"{name} is missing"
        elif not (
            any(each.name == target.name for target in run.targets)
            or any(each.name == node.node for node in run.nodes)
            or any(problem.startswith(f"{each.name}: ") for problem in run.problems)
        ):
            yield each, f"{name} has no verdict on it"


def _missing(expected: Expected, why: str, run: Run) -> Outcome:
    """Return what stands for all scenarios of a target that no shard has."""
    return Outcome(
        nodeid=expected.name,
        title="All scenarios",
        target=expected.name,
        requirements=tuple(CATALOGUE),
        verdict=Verdict.UNDETERMINED,
        code=UNKNOWN,
        cause=why,
        ended=run.ended,
    )
