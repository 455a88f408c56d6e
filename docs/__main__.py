"""``python -m docs``: rewrite the parts of the pages that follow from the code.

Such a part stands between two comments, ``<!-- generated: NAME -->`` and ``<!-- end -->``; NAME is
a key of :data:`PARTS`. Everything else on a page is written by hand. The JSON
schemas are generated as a whole.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import msgspec

from docker_lxc_gate import errors
from docker_lxc_gate.cli.messages import Known
from docker_lxc_gate.doctor import upgrade
from docker_lxc_gate.doctor.case import PROBLEMS
from docker_lxc_gate.doctor.examine import EXAMINATIONS
from docker_lxc_gate.doctor.upgrade_pairs import (
    DOCKERS,
    KNOWN,
    ONLY,
    PAIRS,
    Sides,
    Versions,
    groups,
)
from docker_lxc_gate.lab import errors as lab_errors
from docker_lxc_gate.lint.finding import PROBLEMS as OF_FILES
from docker_lxc_gate.machines import result
from docker_lxc_gate.verdict.record import Run
from docker_lxc_gate.verdict.requirements import CATALOGUE
from proof import needed as trials
from remediation.docker_in_lxc import ACTIONS
from remediation.engine import errors as engine_errors

if TYPE_CHECKING:
    from msgspec import Struct

PAGES = Path(__file__).parent
#: A schema's file, by the type that it describes.
SCHEMAS: dict[type[Struct], Path] = {
    Run: PAGES / "verdict.schema.json",
    Known: PAGES / "messages.schema.json",
}
_PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def schema(kind: type[Struct]) -> str:
    """Return the JSON schema of a type whose values are always written whole."""
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | msgspec.json.schema(kind)
    for definition in whole["$defs"].values():
        if "properties" in definition:
            definition["required"] = [*definition["properties"]]
    return msgspec.json.format(msgspec.json.encode(whole).decode(), indent=1) + "\n"


def _table(header: str, row: str, *entries: Iterable[Any]) -> str:
    """Return a Markdown table of a row for each entry.

    Args:
        header: the columns' names, separated by ``|``.
        row: the columns' formats, separated by ``|``, which are given an entry's values.
        entries: the values, one iterable for each argument of the formats.
    """
    names = header.split("|")
    lines = [names, ["---"] * len(names)]
    for values in zip(*entries, strict=True):
        cells = (cell.format(*values).replace("|", r"\|") for cell in row.split("|"))
        lines.append([re.sub("``", "`", re.sub("\n", "<br>", cell)) for cell in cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def requirements() -> str:
    """Return the table from clause to scenarios to actions."""
    judges: dict[str, list[str]] = {clause: [] for clause in CATALOGUE}
    for path in sorted((PAGES.parent / "features").glob("*.feature")):
        for tags, title in re.findall(r"(@.*)\n *Scenario: (.*)", path.read_text("utf-8")):
            for clause in re.findall(r"@req:(\S+)", tags):
                judges[clause].append(f"[{title}](../features/{path.name})")
    actions: dict[str, list[str]] = {clause: [] for clause in CATALOGUE}
    for action, (title, clause) in ACTIONS.items():
        actions[clause].append(f"`{action}`: {title.replace(' {ctid}', '')}")
    return _table(
        "clause|what the plan asks for|scenarios that judge it|what `apply` does",
        "{0}|{1}|{2}|{3}",
        *(CATALOGUE, CATALOGUE.values()),
        *(map("\n".join, lists.values()) for lists in (judges, actions)),
    )


def error_classes() -> str:
    """Return every error that can end a command, with its exit code and what it means."""
    classes = [
        error
        for module in (errors, result, engine_errors, lab_errors)
        for error in vars(module).values()
        if inspect.isclass(error) and issubclass(error, errors.RemediationError)
        if error.__module__ == module.__name__
        if error is not errors.RemediationError
    ]
    return _table(
        "error|exit code|meaning",
        "`{0.__name__}`{2}|{0.exit_code}|{1}",
        classes,
        [(error.__doc__ or "").partition("\n")[0] for error in classes],
        [" (lab)" if error.__module__ == lab_errors.__name__ else "" for error in classes],
    )


def _problems(kinds: Iterable[str]) -> str:
    header = "id|severity|what is wrong|why it matters|what to do"
    return _table(
        header, "`{0.id}`|{0.severity}|{0.title}|{0.why}|{0.fix}", map(PROBLEMS.get, kinds)
    )


def _versions(sides: Sides, word: str) -> str:
    """Return what one of must be installed on each machine; a range's last ``~`` is not shown.

    The packages of Docker are one, without their epochs.
    """
    texts = (
        f"{where}: "
        + "; ".join(
            f"{'Docker' if v.package in DOCKERS else v.package} ≥{v.since} <{v.before}"
            for v in group
            if v.package not in DOCKERS or v.package == "docker.io"
        )
        for where, group in groups(sides)
    )
    return re.sub(r"( [≥<]|~)(?=[ ;\n]|$)", "", f"\n{word}\n".join(texts))


def _ended(broken: Sides) -> Sides:
    """Return the versions behind those that are broken, where all of a machine's have an end."""
    ended: Sides = {}
    for where, versions in groups(broken):
        if all(version.before for version in versions):
            later = [
                next((v.since for v in versions[at:] if v.package == version.package), "")
                for at, version in enumerate(versions, 1)
            ]
            ends = zip(versions, later, strict=True)
            behind = tuple(Versions(v.package, v.before, end) for v, end in ends)
            ended[where] = (*ended.get(where, ()), behind)
    return ended


def _linked(sources: str) -> str:
    """Return sources with a link for each thread of a repository."""
    return re.sub(r"(\S+)#([0-9]+)", r"[\g<0>](https://github.com/\1/issues/\2)", sources)


def upgrade_pairs() -> str:
    """Return every pair of versions that is known not to go together."""
    return _table(
        "id|severity|what happens|broken|only if|fixed, or what to do|sources",
        "`{0.id}`|{1}|{0.title}. {0.why}|{2}|{3}|{4}|{5}",
        PAIRS,
        ["advice" if pair.advice else "problem" for pair in PAIRS],
        [_versions(pair.broken, "and") for pair in PAIRS],
        [ONLY.get(pair.only, "") for pair in PAIRS],
        [
            _versions(pair.fixed, "or") or _versions(_ended(pair.broken), "or") or pair.fix
            for pair in PAIRS
        ],
        [_linked("\n".join(pair.sources)) for pair in PAIRS],
    )


def needed() -> str:
    """Return what the trials of ``proof.needed`` say of each line, and what must stay of a plan."""
    known = trials.read()
    cells = [*dict.fromkeys(cell for cell, *_ in known)]
    if not cells:
        return "Not run yet."
    *written, profile = trials.recipes().values()

    def alone(cell: str, recipe: str, line: str, most: int) -> str:
        try:
            told = trials.word(known, (cell, recipe, frozenset({line})))
        except KeyError:
            return "not tried"
        return ": ".join(shorten(part, 45, placeholder=" …") for part in told[:most] if part)

    lines = [(recipe.name, line) for recipe in written for line in recipe.lines]
    rules = [Counter(alone(c, profile.name, line, 2) for line in profile.lines) for c in cells]
    results, stays = dict.fromkeys(chain(*rules)), trials.TABLE.stays
    stayed = [" ".join(f"`{rule}`" for rule in row.rules) for row in stays]
    whole = [cell for cell in cells if any(k[0] == cell and k[1] != profile.name for k in known)]
    times = {cell: max(s.at for key, s in known.items() if key[0] == cell) for cell in cells}
    head, heads = "|".join(whole), "|".join(f"{cell}, {times[cell]}" for cell in cells)
    of_lines = ([alone(c, *line, 2 + (c == whole[0])) for line in lines] for c in whole)
    of_rules = ([count[result] for result in results] for count in rules)
    plans = (recipe for recipe in written if recipe.name == recipe.plan)
    return "\n\n".join(
        [
            _table(f"recipe|line|{head}", f"{{0[0]}}|`{{0[1]}}`|{_row(whole)}", lines, *of_lines),
            _table(f"rules of the profile|{heads}", f"{{0}}|{_row(cells)}", results, *of_rules),
            _table("rules that no trial needs|why they stay", "{1}|{0.why}", stays, stayed),
            *(_smallest(known, cell, recipe) for recipe in plans for cell in whole),
        ]
    )


def _row(cells: Sequence[str]) -> str:
    return "|".join(f"{{{number}}}" for number in range(1, len(cells) + 1))


def _smallest(known: Mapping[trials.Lines, trials.Seen], cell: str, recipe: trials.Recipe) -> str:
    """Return the lines of a plan that must stay, to paste, and the versions."""

    def judge(without: Iterable[str]) -> str:
        return trials.word(known, (cell, recipe.name, frozenset(without)))[0]

    try:
        left = trials.smallest(recipe.lines, judge)
    except KeyError:
        return f"`{recipe.name}` on {cell}: not all was tried."
    control = known[trials.there(cell, recipe.name, ())]
    shown = ("Kernel", "LXC", "AppArmor", "Docker", "runc", "driver")
    versions = ", ".join(f"{name} {control.versions.get(name, '?')}" for name in shown)
    lines = trials.configured("", left)
    if trials.UNSURE in map(judge, ([line] for line in recipe.lines)):
        return f"`{recipe.name}` on {cell}: not all could be told."
    return f"`{recipe.name}` on {cell}, {control.at} ({versions}):\n\n```text\n{lines}```"


PARTS: Mapping[str, Callable[[], str]] = {
    "requirements": requirements,
    "error-classes": error_classes,
    "lint-rules": lambda: _table(
        "finding|severity|what is wrong",
        "[`{0.id}`](#{0.id})|{0.severity.value}|{0.title}",
        OF_FILES.values(),
    ),
    "doctor-problems": lambda: _problems(dict.fromkeys(k for e in EXAMINATIONS for k in e.kinds)),
    "upgrade-kinds": lambda: _problems(upgrade.KINDS),
    "upgrade-known": lambda: _table(
        "package|unknown from|source of the newest one that is known",
        "{0}|{1}|{2}",
        KNOWN,
        [known.before.removesuffix("~") for known in KNOWN.values()],
        [_linked(known.source) for known in KNOWN.values()],
    ),
    "upgrade-pairs": upgrade_pairs,
    "needed": needed,
}


def regenerated(page: str) -> str:
    """Return a page's text with its generated parts written anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", page)


if __name__ == "__main__":
    for page in PAGES.glob("*.md"):
        page.write_text(regenerated(page.read_text("utf-8")), "utf-8")
    for kind, file in SCHEMAS.items():
        file.write_text(schema(kind), "utf-8")
