"""``python -m docs``: rewrite the parts of the pages that follow from the code.

Such a part stands between two comments, ``<!-- generated: NAME -->`` and ``<!-- end -->``; NAME is
a key of :data:`PARTS`. Everything else on a page is written by hand.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import runpy
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from docs.markdown import table
from docs.upgrades import upgrade_kinds, upgrade_known, upgrade_pairs
from doctor.examine import EXAMINATIONS
from doctor.trouble import Weight
from faults import rows
from faults.__main__ import main as faults
from faults.scenarios import scenarios
from gate import report as report_options
from gate import terminal, verdicts
from gate.requirements import CATALOGUE
from lab import errors as lab_errors
from lab.__main__ import main as lab
from lint.catalogue import FAMILIES
from remediation import docker_in_lxc
from remediation.cli.group import main as remediation
from remediation.engine import errors as engine_errors
from targets import errors
from targets.runtime.pct import Pct
from targets.target import Target
from targets.transport import Base, CommandResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import ModuleType

PAGES = Path(__file__).parent
#: Every program with a command line of its own, by how it is called.
PROGRAMS: Mapping[str, click.Command] = {
    "python -m remediation": remediation,
    "python -m lab": lab,
    "python -m faults": faults,
}
_PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_CTID = 950
#: So many errors end in one exit code at most, if they are to be read beside it.
_MANY = 5


# -- the plan


class _Node(Base):
    """A Proxmox host with phoenix and a running container, as far as building the plan asks."""

    machine = "the node"

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        """Answer what is expected, and refuse everything else."""
        del stdin, timeout
        if argv[0] not in {"test", "find"}:
            raise AssertionError(f"building the plan asks the node to run {argv}")
        return CommandResult(tuple(argv), 0, b"RUNNING", b"", self.machine, 0.0, 0.0)


def _actions() -> dict[str, list[str]]:
    """Return, by clause, what apply does, in the plan's order, each with what follows it."""
    plan = docker_in_lxc.plan(Pct(_Node()), _CTID, tell=lambda _: None)
    found: dict[str, list[str]] = {}
    for step in plan.steps:
        then = "".join(f"; then: {consequence.title}" for consequence in step.then)
        name = step.action.title.replace(f"container {_CTID}", "the container")
        where = step.on.machine.removesuffix(f" {_CTID}").removesuffix(f" {_CTID} on the node")
        found.setdefault(step.action.requirement, []).append(
            f"{name} ({'node' if where == _Node.machine else 'container'}){then}"
        )
    return found


def requirements() -> str:
    """Return the table from clause to scenarios to actions."""
    actions = _actions()
    if unknown := set(actions) - set(CATALOGUE):
        raise AssertionError(f"actions of no clause: {unknown}")

    def judged(clause: str) -> Iterator[str]:
        for each in scenarios().values():
            if f"req:{clause}" in each.tags:
                yield f"[{each.title}](../{each.nodeid.partition('::')[0]})"

    return table(
        ("clause", "what the plan asks for", "scenarios that judge it", "what `apply` does"),
        (
            (clause, text, "\n".join(judged(clause)), "\n".join(actions.get(clause, [])))
            for clause, text in CATALOGUE.items()
        ),
    )


# -- command lines


def _paragraphs(text: str) -> Iterator[str]:
    r"""Yield a docstring's paragraphs; what click must not wrap (``\b``) as preformatted text."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        kept = paragraph.removeprefix("\b\n")
        yield f"```text\n{kept}\n```" if kept != paragraph else paragraph


def _options(context: click.Context) -> list[tuple[str, str]]:
    """Return each option of a command with its help; ``--help``, which all have, is left out."""
    records = [
        param.get_help_record(context)
        for param in context.command.get_params(context)
        if isinstance(param, click.Option) and "--help" not in param.opts
    ]
    return [(f"`{names}`", said) for names, said in filter(None, records)]


def _long(names: str) -> str:
    """Return an option's long name alone."""
    return f"`{names.strip('`').split(', ')[-1].partition(' ')[0]}`"


def _contexts(command: click.Command, name: str, parent: Any = None) -> Iterator[click.Context]:
    """Yield the context of a command, and those of all below it."""
    settings = dict(command.context_settings)
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context
    if isinstance(command, click.Group):
        for below in command.commands or command.list_commands(context):  # in their own order
            if each := command.get_command(context, below):
                yield from _contexts(each, below, context)


def commands() -> str:
    """Return every command with what it does and its options."""
    return "\n\n".join(_program(command, name) for name, command in PROGRAMS.items())


def _program(command: click.Command, name: str) -> str:
    contexts = list(_contexts(command, name))
    count = Counter(record for context in contexts for record in _options(context))
    shared = [record for record, times in count.items() if times > 1]
    parts = [f"## {name}"]
    for context in contexts:
        if context.parent:
            parts.append(f"### {context.command_path}")
        parts += _paragraphs(context.command.help or "")
        parts.append(f"```text\n{context.get_usage().removeprefix('Usage: ')}\n```")
        own = [record for record in _options(context) if record not in shared]
        if own:
            parts.append(table(("option", "meaning"), own))
        if also := [_long(record[0]) for record in _options(context) if record in shared]:
            parts.append(f"Shared options: {', '.join(also)}.")
        if context.parent is None and shared:
            parts += ["Options that several of its commands share:"]
            parts.append(table(("option", "meaning"), shared))
    return "\n\n".join(parts)


class _Recorder:
    """Stands in for pytest's parser, and notes what is added to it."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []

    def getgroup(self, *_: str) -> _Recorder:
        """Return itself: one group is like another here."""
        return self

    def addoption(self, name: str, **attributes: Any) -> None:
        """Note an option."""
        metavar = attributes.get("metavar", "")
        self.rows.append((f"`{f'{name} {metavar}'.strip()}`", attributes["help"]))


def pytest_options() -> str:
    """Return the options that the gate adds to pytest's own."""
    recorder: Any = _Recorder()
    # By its path: among tests, the name "conftest" may be another one's.
    runpy.run_path(str(PAGES.parent / "conftest.py"))["pytest_addoption"](recorder)
    report_options.pytest_addoption(recorder)
    return table(("option", "meaning"), recorder.rows)


# -- targets


def target_keys() -> str:
    """Return every key of a target file, with its type, its default and its meaning."""
    _, _, attributes = inspect.cleandoc(Target.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    meanings = {key: re.sub(r"\s+", " ", said).replace("``", "`") for key, said in entries}
    fields = {field.name: field for field in msgspec.structs.fields(Target)}
    if set(meanings) != set(fields):
        raise AssertionError(f"not documented, or no key: {set(meanings) ^ set(fields)}")

    def default(field: msgspec.structs.FieldInfo) -> str:
        if field.required:
            return "required"
        empty = field.default in {"", None}
        return "—" if empty else f"`{msgspec.json.encode(field.default).decode()}`"

    return table(
        ("key", "default", "meaning"),
        ((f"`{key}`", default(fields[key]), meanings[key]) for key in fields),
    )


# -- verdicts


def words() -> str:
    """Return the three words, each with the exit code that a run ends with because of it."""
    codes = {word: code for code, word in terminal.WORDS.items()}
    return table(
        ("verdict", "exit code"),
        ((f"**{word}**", str(codes[str(word)])) for word in verdicts.Verdict),
    )


def _classes() -> Iterator[tuple[str, type[errors.RemediationError]]]:
    """Yield every error that can end a command, with the package it is of."""
    for module in (errors, engine_errors, lab_errors):
        for each in vars(module).values():
            ours = inspect.isclass(each) and each.__module__ == module.__name__
            if (
                ours
                and issubclass(each, errors.RemediationError)
                and each.__bases__ != (Exception,)
            ):
                yield ("lab" if module is lab_errors else ""), each


def exit_codes() -> str:
    """Return every exit code, with what the gate says and which errors end in it."""
    words = {verdicts.USAGE: "usage error", **terminal.WORDS}
    return table(
        ("code", "the gate says", "errors that end a command with it"),
        (
            (
                str(code),
                words[code],
                _together([each.__name__ for _, each in _classes() if each.exit_code == code]),
            )
            for code in sorted(words)
        ),
    )


def _together(names: Sequence[str]) -> str:
    return "all other errors" if len(names) > _MANY else ", ".join(f"`{name}`" for name in names)


def error_classes() -> str:
    """Return every error class with its exit code and what it means."""
    return table(
        ("error", "exit code", "meaning"),
        (
            (
                f"`{each.__name__}`{f' ({where})' if where else ''}",
                str(each.exit_code),
                (each.__doc__ or "").partition("\n")[0].replace("``", "`"),
            )
            for where, each in _classes()
        ),
    )


# -- faults


def fault_rows() -> str:
    """Return what the catalogue breaks, by the files of its rows, and how many faults each has."""
    modules = [
        importlib.import_module(f"{rows.__name__}.{found.name}")
        for found in pkgutil.iter_modules(rows.__path__)
    ]
    many = [len(module.FAULTS) for module in modules]
    said = [(module.__doc__ or "").partition("\n")[0] for module in modules]
    return table(
        ("file", "what it breaks", "faults"),
        [
            *(
                (f"[{module.__name__.rpartition('.')[2]}](../{_path(module)})", text, str(count))
                for module, text, count in zip(modules, said, many, strict=True)
            ),
            ("", "all", str(sum(many))),
        ],
    )


def _path(module: ModuleType) -> str:
    return f"{module.__name__.replace('.', '/')}.py"


# -- lint


def lint_rules() -> str:
    """Return every finding of lint, by family, with a link to its story."""
    return table(
        ("finding", "severity", "what is wrong"),
        (
            (f"[`{rule.id}`](#{rule.id})", rule.severity.value, rule.title)
            for rules in FAMILIES.values()
            for rule in rules
        ),
    )


# -- doctor


def doctor_troubles() -> str:
    """Return every trouble that doctor names, in its own order."""
    kinds = dict.fromkeys(kind for each in EXAMINATIONS for kind in each.kinds)
    ends = {Weight.ADVICE: "0"}
    return table(
        ("trouble", "exit code", "what is wrong", "why it matters", "what to do"),
        (
            (f"`{kind.id}`", ends.get(kind.weight, "1"), kind.title, kind.why, kind.mend)
            for kind in kinds
        ),
    )


PARTS: Mapping[str, Callable[[], str]] = {
    "requirements": requirements,
    "commands": commands,
    "pytest-options": pytest_options,
    "target-keys": target_keys,
    "words": words,
    "exit-codes": exit_codes,
    "error-classes": error_classes,
    "faults": fault_rows,
    "lint-rules": lint_rules,
    "doctor-troubles": doctor_troubles,
    "upgrade-kinds": upgrade_kinds,
    "upgrade-known": upgrade_known,
    "upgrade-pairs": upgrade_pairs,
}


def regenerated(page: str) -> str:
    """Return a page's text with its generated parts written anew."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}", page)


def main() -> None:
    """Rewrite the pages, and name those that changed."""
    for path in sorted(PAGES.glob("*.md")):
        before = path.read_text("utf-8")
        if (after := regenerated(before)) != before:
            path.write_text(after, "utf-8")
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
