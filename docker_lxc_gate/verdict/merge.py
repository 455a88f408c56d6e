"""``--merge``: the records of all shards of a run become the record of one run."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.machines.fleet import ALL
from docker_lxc_gate.printable import listed
from docker_lxc_gate.verdict import comparison, record
from docker_lxc_gate.verdict.claim import closed_to_others, place
from docker_lxc_gate.verdict.record import PRECEDENCE
from docker_lxc_gate.verdict.session import not_judged
from docker_lxc_gate.verdict.waivers import GIVEN

if TYPE_CHECKING:
    from docker_lxc_gate.verdict.record import Run, Shard
    from docker_lxc_gate.verdict.session import Gate

#: Shards of one run begin together; a file of the day before is another run's.
_APART = timedelta(hours=12)
#: The records to merge, in the order of the shards, and their files.
_MERGED = pytest.StashKey["list[tuple[Shard, Run, Path]]"]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the records before this run replaces any; what is wrong is a usage error."""
    try:
        config.stash[_MERGED] = _read(config.getoption("--merge"), place(config)[0].resolve())
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def _read(given: list[str], output: Path) -> list[tuple[Shard, Run, Path]]:
    known: dict[int, tuple[Shard, Run, Path]] = {}
    one: dict[str, Any] = {}
    for path in map(Path, given):
        file = path / "verdict.json" if path.is_dir() else path
        run = comparison.read(file)
        if (shard := run.shard) is None:
            raise UsageError(f"{file} is no record of a shard: run the gate with --shard")
        if file.parent.resolve() == output:
            raise UsageError(f"{file} would be replaced: name another folder by --output")
        its = {
            "versions of the gate": (run.version, run.commit),
            "shards, targets or plans": (shard.of, shard.expected),
            "waivers": [each.waiver for each in run.waivers],
        }
        one = one or its
        if differ := [what for what in one if one[what] != its[what]]:
            raise UsageError(f"{given[0]} and {path} are of two runs: the {differ[0]} differ")
        if shard.number in known:
            raise UsageError(f"{known[shard.number][2]} and {file} are both shard {shard.number}")
        _require_own(run, shard, file)
        known[shard.number] = shard, run, file
    began = sorted((run.began, file) for _, run, file in known.values())
    if began and began[-1][0] - began[0][0] > _APART:
        raise UsageError(f"{began[0][1]} began {began[-1][0] - began[0][0]} before {began[-1][1]}")
    return [known[number] for number in sorted(known)]


def _require_own(run: Run, shard: Shard, file: Path) -> None:
    """Refuse what no run of a shard writes: it would hide what another shard found."""
    its = [each for each in shard.expected if each.shard == shard.number]
    names, nodes = {each.name for each in its}, {f"{n.node}/" for n in its if n.name.endswith(ALL)}
    for each in {each.target for each in run.scenarios} | {each.name for each in run.targets}:
        if each not in names and f"{each.rpartition('/')[0]}/" not in nodes:
            raise UsageError(f"{file} has {each or 'no target'}, which is not of {shard}")
    if run.began.tzinfo is None:
        raise UsageError(f"{file} says no time zone of its times")
    for code in {run.code, *(each.code for each in run.scenarios)}:
        if code not in PRECEDENCE and not 128 < code < 256:  # noqa: PLR2004 - of a signal
            raise UsageError(f"{file} has the exit code {code}, which no run ends with")


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> bool | None:
    """Collect nothing, and let the gate conclude as if it had run what the shards ran."""
    config, shards = session.config, session.config.stash[_MERGED]
    gate: Gate | None = config.pluginmanager.get_plugin("gate-session")
    if not (gate and shards):
        return None
    _take(config, gate, shards[0][0], {shard.number: run for shard, run, _ in shards})
    folders = (at for *_, file in shards for at in (file.parent, file.with_name("allure-results")))
    for each in (each for folder in folders for each in folder.glob("*")):
        if record.MADE(each.name) and each.is_file() and not each.is_symlink():
            with closed_to_others():
                shutil.copyfile(each, Path(config.option.allure_report_dir, each.name))
    return True


def _take(config: pytest.Config, gate: Gate, shard: Shard, by_number: dict[int, Run]) -> None:
    run, runs = gate.run, [*by_number.values()]
    run.version, run.commit = runs[0].version, runs[0].commit
    run.clean = min((each.clean for each in runs), key=(None, False, True).index)
    for name in ("command", "user", "machine"):
        setattr(run, name, "; ".join(dict.fromkeys(getattr(each, name) for each in runs)))
    run.began, run.ended = min(each.began for each in runs), max(each.ended for each in runs)
    run.problems += [problem for each in runs for problem in each.problems]
    targets = {target.name: target for each in runs for target in each.targets}
    nodes = {node.node: node for each in runs for node in each.nodes}
    known = {*targets, *nodes, *(problem.partition(": ")[0] for problem in run.problems)}
    lacking = [e for e in shard.expected if e.shard not in by_number or e.name not in known]
    targets |= {each.name: record.JudgedTarget(each.name, each.plan) for each in lacking}
    missing = {*range(1, shard.of + 1)} - by_number.keys()
    for number in sorted(missing | {each.shard for each in lacking}):
        its = listed([each.name for each in lacking if each.shard == number], 10) or "no target"
        not_judged(config, f"shard {number} of {shard.of} is missing or broke off: it has {its}")
    # As in a whole run: targets in the order of the command line, then those of each node.
    expected = enumerate(shard.expected)
    order = {name: at for at, each in expected for name in (each.node, each.name)}
    last = len(order)
    names = sorted(targets, key=lambda n: order.get(n, order.get(n.rpartition("/")[0], last)))
    config.stash[record.TARGETS] = {name: targets[name] for name in names}
    config.stash[record.NODES] = {name: nodes[name] for name in order if name in nodes}
    config.stash[record.MAY_DIFFER] = {k: v for each in runs for k, v in each.may_differ.items()}
    config.stash[GIVEN] = tuple(each.waiver for each in runs[0].waivers)
    outcomes = [outcome for each in runs for outcome in each.scenarios]
    asked = {f"{n.node.removesuffix(ALL)}/{ctid}" for n in nodes.values() for ctid in n.asked}
    told = {each.target for each in outcomes} | {each.name for each in lacking}
    for name in sorted({*targets, *asked} - told):
        not_judged(config, f"{name} has no scenario in the record of its shard")
    if len(targets) > 1:
        outcomes = [structs.replace(each, included="") for each in outcomes]
    gate.tally.expect(outcomes)
    gate.screen.several = len({each.target for each in outcomes}) > 1
    gate.tally.codes |= {each.code for each in runs}
