"""The pages are true: generated parts, links, commands, quoted messages, and their lengths."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from markdown_it import MarkdownIt

from docs.__main__ import PAGES, PARTS, PROGRAMS, error_classes, regenerated
from lint.catalogue import FAMILIES
from tests.called import calls, named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = PAGES.parent
README = ROOT / "README.md"
DOCUMENTS = (README, ROOT / "CHANGELOG.md", *sorted(PAGES.glob("*.md")))
TROUBLESHOOTING = PAGES / "troubleshooting.md"
#: The document that the product implements, as it was handed over.
_PLAN = "42cdcc11aaa54700ba89722e37cef8572f90870bbf1c96fdfd9fdd37522b864b"
#: What a reader's own machine has; everything else in a block of commands is this project's.
_SHELL = {".", "python3", "npm", "ssh"}
_CODE = (
    *("commandline", "doctor", "facts", "gate", "lab", "lint", "remediation", "steps", "targets"),
)
#: Commands of the pages that no test and no CI calls, and why.
_BY_HAND = {
    ".": "the shell's own; there is nothing of ours to run",
    "python3": "scripts/setup makes .venv the same way, with $PYTHON, and CI runs it",
    ".venv/bin/pip": "scripts/setup does the same by python -m pip, and CI runs it",
    "python -m docs": "it writes what test_page_regenerated_is_unchanged compares",
    "python -m gate.report": "test_gate_report.py calls its main",
    "python -m tests.doubles.nodes.whole": "it writes a journal once, which must then never change",
    "python -m tests.mutate_denials": "a million records take long; the unit tests try hundreds",
    "python -m tests.unit.remediation.engine.test_stored_states": "it writes what that test reads",
    "scripts/mutation": "it takes half an hour, and installs an environment of its own",
    "pytest tests/live/": "it takes hours; CI runs what is in .ci/run of it",
    **{
        f"pytest tests/live/test_{name}.py": "CI's 45 minutes have no room for it on the lab"
        for name in (
            *("denials", "false_alarms", "hostile_guests", "places", "plain_lxc"),
            *("package_settings", "removed_docker", "without_phoenix"),
        )
    },
}
_FILE = re.compile(r"[a-z][\w-]*/[\w/*.-]+\.(py|feature|toml|yml)")
_SETTING = re.compile(r"[A-Z_]+=\S*")


def by_name(path: Path) -> str:
    return path.name


@cache
def tokens(path: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8"))


def inline(path: Path) -> Iterator[Token]:
    for token in tokens(path):
        yield from token.children or ()


def links(path: Path) -> list[str]:
    found = [str(token.attrs["href"]) for token in inline(path) if token.type == "link_open"]
    return [*found, *(str(token.attrs["src"]) for token in inline(path) if token.type == "image")]


@cache
def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings: lower case, hyphens for blanks, no punctuation."""
    found: dict[str, int] = {}
    for token, text in zip(tokens(path), tokens(path)[1:], strict=False):
        if token.type == "heading_open":
            plain = "".join(child.content for child in text.children or ())
            name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            again = found.get(name, 0)
            found[name] = again + 1
            if again:
                found[f"{name}-{again}"] = 1
    return set(found)


def commands(path: Path) -> Iterator[str]:
    """Yield each command of a page: lines of ``sh`` blocks, and code that names a program."""
    for token in tokens(path):
        if token.type == "fence" and token.info == "sh":
            yield from filter(None, token.content.splitlines())
        if token.type == "code_block":
            yield token.content.strip()
    for token in inline(path):
        if token.type == "code_inline" and re.match(
            r"([A-Z_]+=\S+ )*(pytest (features|tests/live)/|python -m |scripts/)", token.content
        ):
            yield token.content


# -- generated parts


@pytest.mark.parametrize("path", DOCUMENTS, ids=by_name)
def test_page_regenerated_is_unchanged(path: Path) -> None:
    assert regenerated(path.read_text("utf-8")) == path.read_text("utf-8"), "run python -m docs"


def test_generated_parts_are_each_on_a_page() -> None:
    text = "".join(path.read_text("utf-8") for path in DOCUMENTS)
    used = re.findall(r"^<!-- generated: (\S+) -->$", text, re.MULTILINE)
    assert sorted(used) == sorted(PARTS)
    assert len(re.findall(r"^<!-- end -->$", text, re.MULTILINE)) == len(PARTS)


def test_regenerated_replaces_what_stood_there() -> None:
    page = "before\n<!-- generated: words -->\nold\n<!-- end -->\nafter\n"
    once = regenerated(page)
    assert "old" not in once
    assert "**not compliant** | 1" in once
    assert once.startswith("before\n<!-- generated: words -->\n\n|")
    assert once.endswith("|\n\n<!-- end -->\nafter\n")
    assert regenerated(once) == once


def test_plan_is_the_document_word_for_word() -> None:
    _, _, document = (PAGES / "plan.md").read_text("utf-8").partition("\n---\n\n")
    assert hashlib.sha256(document.encode()).hexdigest() == _PLAN


# -- links


@pytest.mark.parametrize("path", DOCUMENTS, ids=by_name)
def test_links_and_anchors_of_a_page_resolve(path: Path) -> None:
    for link in links(path):
        if re.match(r"https?:", link):
            continue
        file, _, anchor = link.partition("#")
        there = Path(os.path.normpath(path.parent / file)) if file else path
        assert there.is_relative_to(ROOT), link
        assert there.exists(), link
        if anchor:
            assert anchor in anchors(there), link


def test_links_to_anchors_are_found() -> None:
    assert len([link for path in DOCUMENTS for link in links(path) if "#" in link]) > 10


def test_pages_are_linked_from_readme() -> None:
    linked = {link.partition("#")[0] for link in links(README)}
    assert {f"docs/{page.name}" for page in PAGES.glob("*.md")} <= linked


@pytest.mark.parametrize("path", DOCUMENTS, ids=by_name)
def test_files_that_a_page_names_exist(path: Path) -> None:
    for token in inline(path):
        if token.type == "code_inline" and _FILE.fullmatch(token.content):
            assert list(ROOT.glob(token.content)), token.content


def test_files_that_pages_name_are_found() -> None:
    named = [t.content for path in DOCUMENTS for t in inline(path) if _FILE.fullmatch(t.content)]
    assert len(named) > 10


# -- commands


def test_commands_of_pages_are_found() -> None:
    assert len([command for path in DOCUMENTS for command in commands(path)]) > 100


def words_of(path: Path) -> Iterator[list[str]]:
    """Yield the words of each command of a page, without settings and comments."""
    for command in commands(path):
        words = shlex.split(re.sub(r"\[|\]…?|…", "", command), comments=True)
        while words and _SETTING.fullmatch(words[0]):
            words.pop(0)
        if words:
            yield words


@pytest.mark.parametrize("path", DOCUMENTS, ids=by_name)
def test_commands_of_a_page_exist(path: Path, pytestconfig: pytest.Config) -> None:
    for words in words_of(path):
        require(words, pytestconfig)


def test_commands_of_pages_are_called_by_tests_or_ci(pytestconfig: pytest.Config) -> None:
    """Else a command is listed with the reason; one that is called leaves the list."""
    written = {
        call
        for path in DOCUMENTS
        for words in words_of(path)
        for call in as_called(words, pytestconfig)
    }
    assert written - calls(PROGRAMS) == set(_BY_HAND)


def as_called(words: list[str], config: pytest.Config) -> Iterator[str]:
    """Yield a command as :func:`tests.called.calls` names it; a part of a folder as the folder."""
    program, *rest = words
    if program == "pytest":
        asked = config._parser.parse(rest)
        for path in getattr(asked, "file_or_dir", []) or ["features/"]:
            whole = re.match("features/|tests/(?!live/)", path)
            yield f"pytest {whole[0] if whole else path}"
    elif program == "python":
        yield named(" ".join([program, *rest[:2]]), rest[2:], PROGRAMS)
    else:
        yield program


def test_verb_that_nothing_calls_is_noticed() -> None:
    called = calls(PROGRAMS)
    assert named("python -m remediation", ["journal", "show", "x"], PROGRAMS) in called
    assert {"python -m lab up", "python -m lab", "pytest features/", "scripts/test"} <= called
    assert "python -m lab images" not in called


def require(words: list[str], config: pytest.Config) -> None:
    """Fail unless a command line begins with what exists, and has options that exist."""
    program, *rest = words
    module = " ".join(["python", *rest[:2]])
    if program == "python" and module in PROGRAMS:
        require_options(PROGRAMS[module], rest[2:])
    elif program in {"pytest", "scripts/gate"}:
        require_pytest(rest, config)
    elif program == "python":
        assert rest[0] == "-m", words
        assert importlib.util.find_spec(rest[1]), words
    else:
        there = ROOT / program
        assert program in _SHELL or program.startswith(".venv/") or there.is_file(), words


def require_options(command: click.Command, words: list[str]) -> None:
    """Fail unless click knows every verb and option; what is left out is not asked for."""
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        below = command.get_command(click.Context(command), name)
        assert below, f"{command.name} has no {name}"
        command = below
    known = {name: param for param in command.params for name in param.opts}
    for word in (word for word in words if word.startswith("-") and word != "-"):
        assert word in known, f"{command.name} has no {word}"


def require_pytest(words: list[str], config: pytest.Config) -> None:
    """Fail unless pytest, with what the gate adds, knows every option and the paths are there."""
    asked = config._parser.parse(words)
    for path in getattr(asked, "file_or_dir", []):
        assert (ROOT / path.partition("::")[0]).exists(), path


@pytest.mark.parametrize(
    "command",
    [
        "scripts/nothing",
        "python -m remediation applies",
        "python -m remediation apply --backups",
        "python -m lab up --machines proxmox",
        "python -m nothing",
        "pytest features/nothing.feature",
        "pytest features/ --targets T",
        "kubectl get pods",
    ],
)
def test_command_that_does_not_exist_is_noticed(command: str, pytestconfig: pytest.Config) -> None:
    with pytest.raises((AssertionError, pytest.UsageError)):
        require(shlex.split(command), pytestconfig)


def test_files_that_need_the_lab_are_named_by_ci_or_for_contributors() -> None:
    told = (ROOT / ".ci/run").read_text("utf-8") + (PAGES / "contributing.md").read_text("utf-8")
    files = [f"tests/live/{path.name}" for path in (ROOT / "tests/live").glob("test_*.py")]
    assert len(files) > 10
    assert [file for file in files if file not in told] == []


# -- messages


@cache
def said() -> str:
    """Every text of the code, a line each; what is put into it as ``…``."""
    texts = [path for folder in _CODE for path in (ROOT / folder).rglob("*.py")]
    found = []
    for path in texts:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def messages() -> list[str]:
    """The first code of each row of troubleshooting's tables."""
    rows = re.findall(r"^\| `([^`]+)`", TROUBLESHOOTING.read_text("utf-8"), re.MULTILINE)
    return [row for row in rows if row != "message"]


def test_troubleshooting_quotes_messages() -> None:
    assert len(messages()) > 60


@pytest.mark.parametrize("message", messages())
def test_message_quoted_is_one_of_the_code(message: str) -> None:
    for part in filter(None, (part.strip() for part in message.split("…"))):
        assert part in said(), f"no text of the code holds {part!r}"


def test_troubleshooting_has_every_error() -> None:
    names = re.findall(r"^\| `(\w+)`", error_classes(), re.MULTILINE)
    assert len(names) > 15
    text = TROUBLESHOOTING.read_text("utf-8")
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


# -- lint


def test_every_finding_of_lint_has_its_story_and_no_other_has() -> None:
    path = PAGES / "lint.md"
    _, *stories = re.split(r"^### (.*)$", path.read_text("utf-8"), flags=re.MULTILINE)
    told = dict(zip(stories[::2], stories[1::2], strict=True))
    assert list(told) == [rule.id for rules in FAMILIES.values() for rule in rules]
    assert [
        name for name, story in told.items() if len(story.partition("\n## ")[0].split()) < 8
    ] == []


def test_families_of_lint_are_the_pages_headings() -> None:
    headings = re.findall(r"^## (.*)$", (PAGES / "lint.md").read_text("utf-8"), re.MULTILINE)
    assert headings[-len(FAMILIES) :] == list(FAMILIES)


# -- lengths


def test_readme_is_one_screen() -> None:
    assert 60 <= len(README.read_text("utf-8").splitlines()) <= 90


def test_changelog_bullets_are_short() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    bullets = re.findall(r"^- (.*(?:\n  .*)*)", text, re.MULTILINE)
    assert bullets
    assert [each for each in bullets if len(each.split()) > 20] == []
