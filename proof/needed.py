"""What Docker needs, line by line: ``LAB_HOME=FOLDER python -m proof.needed``.

A trial takes lines of a recipe away, or rules of the shipped profile, restarts the container and
asks the gate. What it shows goes to ``needed.jsonl``, from which docs/needed.md is made. A run that
was cut off goes on from there.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import click
import msgspec

from docker_lxc_gate import patterns
from docker_lxc_gate.cli import options, printing
from docker_lxc_gate.commandline import output
from docker_lxc_gate.errors import LimitExceeded, RemediationError
from docker_lxc_gate.formats.apparmor_profile import statements
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.lab.progress import told_to
from docker_lxc_gate.lab.recipe import DEFAULT_RELEASE, template_name
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.target import DEFAULT_PLAN, parse
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.printable import cut, one_line
from docker_lxc_gate.tables import Row, table
from proof.faults import run, snapshots
from proof.faults.fault import COMPLIANT, CTID, RED, UNDETERMINED, shell
from proof.faults.scenarios import scenarios
from proof.matrix import keep_images
from remediation import desired, plan_file, provision
from remediation.engine.apply import apply

RESULTS = Path(__file__).with_name("needed.jsonl")
#: No scenario: the container comes up, and no unit fails that did not; then scenarios, by id.
START, DOCKER = "start", ("units", "hello", "image", "network", "volume", "denials")
#: What the container must not do. The attempts of the feature belong to it, too.
GUARDS, ATTEMPTS = ("confinement", "restricted", "refused"), "features/confinement.feature::"
NEEDED, UNNEEDED, HARMFUL, UNSURE = "needed", "not needed", "harmful", "could not tell"
FREE = frozenset({UNNEEDED, HARMFUL})
_UNKNOWN = UNDETERMINED, "it was not judged"
#: What a scenario's verdict with all lines and that without some of them say; the first one counts.
_CHANGES = {
    (COMPLIANT, RED): NEEDED,
    (COMPLIANT, UNDETERMINED): UNSURE,
    (RED, COMPLIANT): HARMFUL,
}
#: The recipe whose lines are the rules of the shipped profile.
PROFILE = "profile"
#: Prints the units that failed, but for those that the network keeps waiting.
_RESTART = """restart >&2
inside systemctl list-units --state=failed --full --plain --no-legend |
    grep -v -e -wait-online || true"""
#: pct's words about an explicit profile, before it says what is wrong.
_WARNING = "explicitly configured lxc.apparmor.profile overrides"
#: The limits for a restart (seconds), and for a cause (characters).
_PATIENCE, _CAUSE = 300.0, 600
#: A trial: the cell, the recipe's name, and the lines that it lacks.
Key = tuple[str, str, frozenset[str]]
#: What a trial shows depends on: the cell, the plan, and the lines that are there.
Lines = tuple[str, str, frozenset[str]]


class Recipe(Row, frozen=True):
    """Lines that people write: who says so, and the plan from whose container a trial starts."""

    name: str
    source: str
    lines: tuple[str, ...]
    plan: str = "plain"


class Seen(Row, frozen=True):
    """What a trial showed: verdict and cause by the scenario's id, in the order of the questions.

    The cell has the releases of node and guest. The cause of a start that is compliant is its
    failed units.
    """

    cell: str
    recipe: str
    without: tuple[str, ...]
    outcomes: dict[str, tuple[str, str]]
    versions: dict[str, str]
    at: str


class Stays(Row, frozen=True):
    """Rules of the profile that no trial shows to be needed, and why they stay."""

    why: str
    rules: tuple[str, ...]


class Table(Row, frozen=True):
    """The table next to this module."""

    recipe: tuple[Recipe, ...]
    stays: tuple[Stays, ...]


TABLE = table("proof", "needed", Table)


@cache
def recipes() -> dict[str, Recipe]:
    """Return the recipes by name: the shipped plans, those that people write, the profile."""
    rows = []
    for plan in map(plan_file.find, ("plain", DEFAULT_PLAN)):
        lines = [f"features: {feature}=1" for feature in plan.features]
        lines += [f"lxc.apparmor.profile: {plan.profile}"] * bool(plan.profile)
        rows.append(Recipe(plan.name, f"remediation/plans/{plan.name}.toml", (*lines,), plan.name))
    rows += TABLE.recipe
    policy = statements(desired.profile().decode())
    rules = tuple(str(rule) for rule in policy if rule.depth and rule.kind != "close")
    source = f"remediation/content/{desired.PROFILE}"
    return {row.name: row for row in (*rows, Recipe(PROFILE, source, rules, DEFAULT_PLAN))}


def read() -> dict[Lines, Seen]:
    """Return the trials of the file; of several ones of the same lines, the last one."""
    known = {}
    for line in RESULTS.read_bytes().splitlines() if RESULTS.exists() else ():
        with suppress(msgspec.DecodeError):  # the run was cut off while it wrote
            seen = msgspec.json.decode(line, type=Seen)
            if seen.recipe in recipes():  # it may have gone since
                known[there(seen.cell, seen.recipe, seen.without)] = seen
    return known


def there(cell: str, recipe: str, without: Iterable[str]) -> Lines:
    """Return what a trial depends on: two recipes without some of their lines may be the same."""
    one = recipes()[recipe]
    return cell, PROFILE if recipe == PROFILE else one.plan, frozenset(one.lines) - {*without}


def configured(conf: str, lines: Iterable[str]) -> str:
    """Return a container's file with these lines instead of its features and raw lines."""
    kept = [line for line in conf.splitlines() if not line.startswith(("features:", "lxc."))]
    features = ",".join(line.split()[1] for line in lines if line.startswith("features:"))
    kept += [f"features: {features}"] * bool(features)
    return "\n".join([*kept, *(line for line in lines if line.startswith("lxc."))]) + "\n"


def without_rules(text: str, rules: Collection[str]) -> str:
    """Return a profile's text without some of its rules, each of which ends with its line."""
    lines = text.splitlines(keepends=True)
    for statement in reversed(statements(text)):
        if str(statement) in rules:
            begin, words = statement.line - 1, str(statement).split()
            ends = range(statement.line, len(lines) + 1)
            del lines[begin : next(n for n in ends if "".join(lines[begin:n]).split() == words)]
    return "".join(lines)


def word(known: Mapping[Lines, Seen], key: Key) -> tuple[str, str, str]:
    """Return what a trial says of the lines that it lacks: a word, a scenario's id, its message.

    The trial that has all lines is its control. Raises KeyError with the trial that is missing.
    Docker works with more rules if it works with fewer. An attempt that fails without several deny
    rules fails without one, but a rule that allows something may have been missing then, too.
    """
    control, lines = _seen(known, (*key[:2], frozenset())), there(*key)
    if (told := compared(control, control))[0] == UNSURE:
        return told
    asked = lines not in known and key[1] == PROFILE
    for (*place, fewer), seen in known.items() if asked else ():
        holds = all(map(_denies, seen.without)) or not any(map(_denies, key[2]))
        says = holds and place == [*lines[:2]] and fewer < lines[2]
        if says and compared(control, seen)[0] == UNNEEDED:
            return UNNEEDED, "", ""
    return compared(control, _seen(known, key))


def _seen(known: Mapping[Lines, Seen], key: Key) -> Seen:
    if (seen := known.get(there(*key))) is None:
        raise KeyError(key)
    return seen


def compared(control: Seen, seen: Seen) -> tuple[str, str, str]:
    """Return what ``word`` does, by the trial with all lines and the one that lacks some."""
    was, now = control.outcomes, dict(seen.outcomes)
    for name in (START, *DOCKER):
        verdict, cause = was.get(name, _UNKNOWN)
        if verdict != COMPLIANT:
            return UNSURE, name, f"with all lines, too: {cause}"
    verdict, units = now.get(START, _UNKNOWN)
    if verdict == COMPLIANT and (new := {*units.split()} - {*was[START][1].split()}):
        del now[START]  # behind the scenarios: one of them says more
        now[START] = RED, f"failed: {', '.join(sorted(new))}"
    for change, effect in _CHANGES.items():
        for name, (verdict, cause) in now.items():
            if (was.get(name, (COMPLIANT,))[0], verdict) == change:
                return effect, name, was[name][1] if effect == HARMFUL else cause
    for name in was if _may_allow(seen.recipe, seen.without) else DOCKER:
        if UNDETERMINED in {was[name][0], now.get(name, _UNKNOWN)[0]}:
            return UNSURE, name, now.get(name, _UNKNOWN)[1] or was[name][1]
    return UNNEEDED, "", ""


def _may_allow(recipe: str, without: Collection[str]) -> bool:
    """Whether an attempt may succeed that did not: never without a rule that allows something."""
    return recipe != PROFILE or not without or any(map(_denies, without))


def _denies(rule: str) -> bool:
    return "deny" in rule.split()


def smallest(lines: Sequence[str], judge: Callable[[Collection[str]], str]) -> list[str]:
    """Return the lines that must stay: all others go at once if that works, or else one by one.

    ``judge`` returns the word for a trial without some lines, and is asked in the order of trials.
    """
    spare = [line for line in lines if judge([line]) in FREE]
    gone = spare if judge(spare) in FREE else []
    for line in spare if not gone else ():
        gone = [*gone, line] if judge([*gone, line]) in FREE else gone
    return [line for line in lines if line not in gone]


def halved(rules: Sequence[str], judge: Callable[[Collection[str]], str]) -> None:
    """Try rules together, then halves of those that are needed: it takes fewer trials."""
    if judge(rules) not in FREE and len(rules) > 1:
        middle = len(rules) // 2
        halved(rules[:middle], judge)
        halved(rules[middle:], judge)


def tried(lab: Lab, key: Key) -> Seen:
    """Make a trial; an error of ours is a verdict on nothing."""
    recipe, outcomes, versions = recipes()[key[1]], dict[str, tuple[str, str]](), dict[str, str]()
    mine = plan_file.find(recipe.plan)
    of_plan = {name: scenario for name, scenario in scenarios().items() if scenario.is_of(mine)}
    guards = [n for n, s in of_plan.items() if n in GUARDS or s.nodeid.startswith(ATTEMPTS)]
    questions = [(DOCKER, "--maxfail=1"), (guards, "--maxfail=0")]
    questions = questions if _may_allow(*key[1:]) else questions[:1]
    place = ("--target", f"lab/{CTID}", "--plan", recipe.plan, "--allow-mutation")
    try:
        with lab.restored(_made(lab, recipe.plan, key[0].partition("/")[2])) as node:
            change(node, recipe, key[2])
            outcomes[START] = restarted(node)
            for names, option in questions:
                if any(verdict != COMPLIANT for verdict, _ in outcomes.values()):
                    break
                told = run.asked(names, *place, option)
                versions |= told.targets[0].versions
                for outcome in told.scenarios:
                    if outcome.id in names and outcome.verdict in {COMPLIANT, RED, UNDETERMINED}:
                        outcomes[outcome.id] = str(outcome.verdict), outcome.cause
            if all(verdict == COMPLIANT for verdict, _ in outcomes.values()) or not key[2]:
                driver = Pct(node).inside(CTID).look(["docker", "info", "-f", "{{.Driver}}"])
                versions["driver"] = driver.text.strip()
    except (RemediationError, subprocess.TimeoutExpired) as error:
        outcomes["trial"] = UNDETERMINED, one_line(str(error))
    first = {n: (v, cut(cause.partition("\n")[0], _CAUSE)) for n, (v, cause) in outcomes.items()}
    without = tuple(line for line in recipe.lines if line in key[2])
    return Seen(*key[:2], without, first, versions, f"{datetime.now(UTC):%Y-%m-%d %H:%M}")


def _made(lab: Lab, plan: str, guest: str) -> str:
    """Return the snapshot of a container with a plan, which is made if it is missing."""
    if (name := snapshots.snapshot(f"needed-{plan}-{guest}")) not in lab.snapshots():
        lab.restore()
        template = f"local:vztmpl/{template_name(guest, 'docker')}"
        changed = {"template": template, "plan": plan, "repository": "/nowhere"}  # no phoenix
        aim = msgspec.structs.replace(parse(f"lab/{CTID}"), **changed)
        with options.opened(aim) as runtime:
            argv = aim.creation(CTID, features=plan_file.find(plan).features)
            provision.create(runtime, CTID, argv, printing.tell)
            provision.boot_created(runtime, CTID)
            apply(provision.planned(runtime, aim, printing.tell))
        lab.snapshot(name)
    return name


def change(node: Transport, recipe: Recipe, without: Collection[str]) -> None:
    """Write the profile and load it, or the container's lines, without those taken away."""
    if recipe.name == PROFILE:
        policy = without_rules(desired.profile().decode(), without)
        node.run(["tee", desired.PROFILE_PATH], stdin=policy.encode()).require()
        shell(node, "load").require()
        return
    path = Pct(node).config_path(CTID)
    conf = node.run(["cat", path]).require().text
    lines = [line for line in recipe.lines if line not in without]
    node.run(["tee", path], stdin=configured(conf, lines).encode()).require()


def restarted(node: Transport) -> tuple[str, str]:
    """Restart the container; return the verdict and its failed units, or why it is not up."""
    try:
        done = shell(node, _RESTART, timeout=_PATIENCE)
    except LimitExceeded:
        return RED, f"container {CTID} has not booted within {_PATIENCE:g} s"
    if not done.ok:
        stderr = done.stderr.decode(errors="replace").splitlines()
        lines = [line for line in stderr if line and _WARNING not in line]
        return RED, "\n".join(lines) or f"exit code {done.exit_code}"
    return COMPLIANT, " ".join(line.split()[0] for line in done.text.splitlines() if line.strip())


def judged(lab: Lab, known: dict[Lines, Seen], key: Key) -> str:
    """Return the word for a trial. The lab makes those that are missing."""
    while True:
        try:
            told = word(known, key)
        except KeyError as missing:
            trial: Key = missing.args[0]
        else:
            lacks = "; ".join(sorted(key[2]))
            printing.tell(f"{key[0]} {key[1]} without {lacks}: {': '.join(filter(None, told))}")
            return told[0]
        seen = known[there(*trial)] = tried(lab, trial)
        with RESULTS.open("ab") as file:
            file.write(b"\n" + msgspec.json.encode(seen))  # the last one may be cut off


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--node", default=DEFAULT_RELEASE, help="The node's release of Debian.")
@click.option("--guest", help="The container's; default: the node's.")
@click.option("--recipe", "names", multiple=True, type=click.Choice([*recipes()]))
@click.option("--only", default="", metavar="PATTERN", help="Only lines that match.")
def main(node: str, guest: str | None, names: Sequence[str], only: str) -> None:
    """Take each line away alone, then all that is not needed; ``python -m docs`` makes the page.

    Rules that are named with --only are first taken away together: that may answer for each.
    """
    cell, home = f"{node}/{guest or node}", os.environ.get("LAB_HOME")
    if home:
        os.environ["LAB_HOME"] = str(Path(home).absolute())  # the gate runs elsewhere
        keep_images(Path(home).absolute())
    elif cell != f"{DEFAULT_RELEASE}/{DEFAULT_RELEASE}":
        raise click.UsageError(f"{cell} replaces the lab: name a folder for it (LAB_HOME=FOLDER)")
    known = {
        key: seen
        for key, seen in read().items()
        if all(verdict != UNDETERMINED for verdict, _ in seen.outcomes.values())
    }
    lab = Lab.open(steps=told_to(printing.tell)).up(node, [guest or node])
    for recipe in recipes().values():
        if names and recipe.name not in names:
            printing.line(f"{recipe.name}: not tried")
            continue

        def judge(without: Collection[str], name: str = recipe.name) -> str:
            return judged(lab, known, (cell, name, frozenset(without)))

        if only:
            meant = [line for line in recipe.lines if patterns.search(only, line)]
            if meant and recipe.name == PROFILE:
                halved(meant, judge)
            for line in recipe.lines:
                printing.line(f"{line}: {judge([line]) if line in meant else 'not tried'}")
        else:
            left = smallest(recipe.lines, judge)
            for line in (f"{recipe.name}, {cell}: what must stay:", *left):
                printing.line(line)


if __name__ == "__main__":
    output.run(main, "python -m proof.needed")  # SIGTERM, too, ends what it started
