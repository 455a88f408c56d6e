"""How the project's tests, scripts and CI call its programs, as far as their text shows it.

Of a shell script, every command counts. Of a Python file, the argv that follows ``-m`` counts, and,
if the file invokes a program's click command, every argument that spells a verb of it. So an
argument that only looks like a verb counts, too. A verb that is found here is named by a file that
calls its program; a verb that is not found is called by no test at all.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]
_SHELL = (ROOT / ".ci/run", *sorted((ROOT / "scripts").iterdir()))
_PYTHON = sorted((ROOT / "tests").rglob("*.py"))
_MODULE = re.compile(r"\bpython3? -m (\S+)(.*)")


def named(program: str, words: Sequence[str], programs: Mapping[str, click.Command]) -> str:
    """Return a program with the verbs that its first words spell: ``… journal show``."""
    command = programs.get(program)
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), word)
        program += f" {word}" if command else ""
    return program


def calls(programs: Mapping[str, click.Command]) -> set[str]:
    """Return every program that is called, with its verbs.

    A script is its path; pytest is called with each path of its own: ``pytest features/``.

    Args:
        programs: the click command of each ``python -m …`` that has one.
    """
    return {*_by_shell(programs), *_by_python(programs)}


def _by_shell(programs: Mapping[str, click.Command]) -> Iterator[str]:
    for path in _SHELL:
        text = re.sub(r"(^|\s)#.*", r"\1", path.read_text().replace("\\\n", " "))
        for line in text.splitlines():
            words = [word.strip("\"'()") for word in line.split()]
            yield from (word for word in words if re.fullmatch(r"scripts/\w+", word))
            yield from (f"pytest {w}" for w in words if re.match("(tests|features)/", w))
            for module, rest in _MODULE.findall(line):
                yield named(f"python -m {module}", rest.split(), programs)


def _by_python(programs: Mapping[str, click.Command]) -> Iterator[str]:
    for path in _PYTHON:
        tree = ast.parse(path.read_text())
        sequences = [*_sequences(tree)]
        modules = {
            f"python -m {words[at + 1]}"
            for words in sequences
            for at, word in enumerate(words[:-1])
            if word == "-m"
        }
        yield from modules
        yield from (f"pytest {w}" for words in sequences for w in words if w == "features/")
        invoked = {each for each in programs if _invokes(tree, programs[each])} | modules
        for program in invoked & programs.keys():
            for words in sequences:
                for at in range(len(words)):
                    yield named(program, " ".join(words[at:]).split(), programs)


def _sequences(tree: ast.AST) -> Iterator[list[str]]:
    """Yield the texts of each list, tuple and call, in order; anything else is an empty text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            elements = node.elts
        elif isinstance(node, ast.Call):
            elements = node.args
        else:
            continue
        constants = (each.value if isinstance(each, ast.Constant) else "" for each in elements)
        yield [each if isinstance(each, str) else "" for each in constants]


def _invokes(tree: ast.AST, command: click.Command) -> bool:
    """Whether a file imports a click command and has a ``CliRunner``."""
    assert command.callback
    home = command.callback.__module__
    imported = {
        f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    return f"{home}.main" in imported and "click.testing.CliRunner" in imported
