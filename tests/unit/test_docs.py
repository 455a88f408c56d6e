"""The pages are true: generated parts, links, anchors, named files and commands."""

import hashlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from docker_lxc_gate.cli.group import main as remediation
from docker_lxc_gate.verdict.outputs.allure_bridge import CAUSES, CLAUSES
from docs.__main__ import PAGES, SCHEMAS, regenerated, schema

ROOT = PAGES.parent
#: Without the changelog, which names what is gone.
DOCUMENTS = {
    path: MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8"))
    for path in (ROOT / "README.md", *sorted(PAGES.glob("*.md")))
}
#: Every program with a command line of its own.
PROGRAMS = {"docker-lxc-gate": remediation}
#: The document that the product implements, as it was handed over.
PLAN = "42cdcc11aaa54700ba89722e37cef8572f90870bbf1c96fdfd9fdd37522b864b"
FILE = re.compile(r"(?:[a-z]\w*/[\w/*.-]+\.(?:py|feature|toml|yml)|scripts/\w+)(?= |$)")


def texts(path: Path, *kinds: str) -> Iterator[Token]:
    """Yield the tokens of some kinds, in a page's text, lists and tables."""
    for token in DOCUMENTS[path]:
        yield from (part for part in (token, *(token.children or ())) if part.type in kinds)


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings: lower case, hyphens for blanks, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def commands(path: Path) -> Iterator[list[str]]:
    """Yield the words of each command of a page, without settings and comments."""
    for token in texts(path, "fence", "code_block", "code_inline"):
        if token.info in {"", "sh"}:
            for line in re.findall(r"(?:docker-lxc-gate|python -m|pytest) [a-z].*", token.content):
                yield shlex.split(re.sub(r"\[|\]…?|…|\||;|'", " ", line), comments=True)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_page_regenerated_is_unchanged(path: Path) -> None:
    assert regenerated(path.read_text("utf-8")) == path.read_text("utf-8"), "run python -m docs"


@pytest.mark.parametrize("kind", SCHEMAS, ids=lambda kind: kind.__name__)
def test_schema_regenerated_is_unchanged(kind: type[msgspec.Struct]) -> None:
    assert schema(kind) == SCHEMAS[kind].read_text("utf-8"), "run python -m docs"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_anchors_and_files_of_a_page_exist(path: Path) -> None:
    for token in texts(path, "link_open", "image"):
        link = str(token.attrs.get("href") or token.attrs.get("src"))
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert link.startswith("http") or target.exists(), link
        assert link.startswith("http") or not anchor or anchor in anchors(target), link
    for token in texts(path, "code_inline"):
        if name := FILE.match(token.content):
            assert list(ROOT.glob(name[0])), token.content


@pytest.mark.parametrize("page", sorted({CLAUSES, *(row[-1] for row in CAUSES)}))
def test_page_about_a_cause_exists(page: str) -> None:
    file, _, anchor = page.partition("#")
    assert page.startswith("https:") or not anchor or anchor in anchors(ROOT / file)


def test_changelog_has_a_section_for_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    sections = re.findall(r"(?m)^## \[(.+)\] - 20\d\d-", (ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert version == sections[0], "move what is Unreleased to a section of the version"


_FAULTS = ROOT / "proof/faults/conftest.py"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_verbs_and_options_of_a_page_exist(path: Path, pytestconfig: pytest.Config) -> None:
    for found in commands(path):
        words = found
        if words[:2] == ["pytest", "proof/faults"]:  # its conftest has options of its own
            own = set(re.findall(r'"(--[a-z]+)"', _FAULTS.read_text("utf-8")))
            words = [word for word in words if word not in own]
        if words[0] == "pytest" or words[:2] == ["docker-lxc-gate", "gate"]:
            pytestconfig._parser.parse(words[1 if words[0] == "pytest" else 2 :])
        elif found := [name for name in PROGRAMS if " ".join(words).startswith(f"{name} ")]:
            require(PROGRAMS[found[0]], words[len(found[0].split()) :])


@pytest.mark.parametrize("path", sorted((PAGES / "recipes").iterdir()), ids=lambda path: path.name)
def test_options_of_a_recipe_exist(path: Path) -> None:
    text = path.read_text("utf-8").replace("\\\n", " ").replace(", ", " ")
    found = re.findall(r"docker-lxc-gate (gate|bundle)\b([^\n|&\]]*)", text)
    assert found or path.suffix == ".timer"
    for verb, words in found:
        require(PROGRAMS["docker-lxc-gate"], [verb, *shlex.split(words)])


def require(command: click.Command, words: list[str]) -> None:
    """Fail unless click has every verb and option."""
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        below = command.get_command(click.Context(command), words.pop(0))
        assert below, command.name
        command = below
    words = words[: words.index("--")] if "--" in words else words  # guard's own command
    options = {name for param in command.params for name in param.opts} | {"-", "-h", "--help"}
    assert {word for word in words if word.startswith("-")} <= options, (command.name, words)


def test_pages_are_linked_from_readme() -> None:
    links = {str(token.attrs["href"]) for token in texts(ROOT / "README.md", "link_open")}
    assert {f"docs/{page.name}" for page in PAGES.glob("*.md")} <= {
        link.partition("#")[0] for link in links
    }


def test_plan_is_the_document_word_for_word() -> None:
    _, _, document = (PAGES / "plan.md").read_text("utf-8").partition("\n---\n\n")
    assert hashlib.sha256(document.encode()).hexdigest() == PLAN
