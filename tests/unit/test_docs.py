"""The pages are true: generated parts, links, anchors, named files and commands."""

import hashlib
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pytest_bdd.feature import get_feature

from docker_lxc_gate.cli.group import main
from docker_lxc_gate.verdict.outputs import terminal
from docker_lxc_gate.verdict.outputs.allure_bridge import CAUSES, CLAUSES
from docs.__main__ import PAGES, SCHEMAS, regenerated, schema
from steps.configuration import every_line_is_in_effect
from tests.doubles.apparmor.denials import EXAMPLE
from tests.doubles.canned import Machine, Runtime

ROOT = PAGES.parent
README = ROOT / "README.md"
#: Without the changelog, which names what is gone.
DOCUMENTS = {
    path: MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8"))
    for path in (README, ROOT / "llms.txt", *sorted(PAGES.glob("*.md")))
}
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


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and a folder that pages name, in the current folder."""
    for name in ("targets.toml", "BUNDLE", "FILE", "KEY"):
        (tmp_path / name).touch()
    (tmp_path / "reports").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_of_a_page_are_taken_by_their_parsers(
    path: Path, pytestconfig: pytest.Config
) -> None:
    for words in commands(path):
        of_faults = words[:2] == ["pytest", "proof/faults"]  # its conftest has options of its own
        own = re.findall(r'"(--[a-z]+)"', _FAULTS.read_text("utf-8")) if of_faults else ()
        parse([word for word in words if word not in own], pytestconfig)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("path", sorted((PAGES / "recipes").iterdir()), ids=lambda path: path.name)
def test_commands_of_a_recipe_are_taken_by_their_parsers(
    path: Path, pytestconfig: pytest.Config
) -> None:
    text = path.read_text("utf-8").replace("\\\n", " ").replace(", ", " ")
    found = re.findall(r"docker-lxc-gate (gate|bundle)\b([^\n|&\]]*)", text)
    assert found or path.suffix == ".timer"
    for verb, words in found:
        parse(["docker-lxc-gate", verb, *shlex.split(words)], pytestconfig)


def parse(words: list[str], config: pytest.Config) -> None:
    """Fail unless a command's own parser takes its words."""
    program, *rest = words
    if program == "pytest" or words[:2] == ["docker-lxc-gate", "gate"]:
        config._parser.parse(rest[program != "pytest" :])
    if program != "docker-lxc-gate":
        return
    command: click.Command = main
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        below = command.get_command(click.Context(command), rest.pop(0))
        assert below, words
        command = below
    if not isinstance(command, click.Group) and rest != ["--help"]:
        command.make_context(command.name, rest)


#: What a user would paste or name, by verb, for the commands that need no node.
_GIVEN = {
    "doctor": ("unable to apply caps: operation not permitted", "[capabilities-dropped]"),
    "denials": (EXAMPLE.read_text("utf-8"), " denials of "),
    "lint": ("ostype: debian\nrootfs: local:1\n", "[container-privileged]"),
}
_LINES = "".join(token.content for token in texts(README, "fence") if token.info == "sh")


@pytest.mark.parametrize("line", _LINES.splitlines())
def test_command_of_readme_runs(line: str, tmp_path: Path) -> None:
    """One that installs is asked for its usage; of one for a node, the parser was asked above."""
    program, *words = shlex.split(line, comments=True)
    if program != "docker-lxc-gate":
        argv = [ROOT / program, "--help", *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert re.match(r"usage: |error: (usage: |.* as root)", done.stdout + done.stderr)
    elif {"-", "/etc/pve/lxc/950.conf"} & {*words}:
        pasted, named = _GIVEN[words[0]]
        (copy := tmp_path / "950.conf").write_text(pasted)
        words = [str(copy) if word.startswith("/") else word for word in words]
        result = CliRunner().invoke(main, words, input=pasted)
        assert named in result.stdout


def test_red_verdict_of_readme_is_what_the_gate_prints() -> None:
    feature = get_feature(str(ROOT / "features"), "container_configuration.feature")
    scenario = feature.scenarios["The container's configuration is in effect"]
    step = scenario.steps[-1]
    outcome: Any = SimpleNamespace(
        title=scenario.name,
        verdict="not compliant",
        where=f"{feature.rel_filename}:{step.line_number}",
        step=f"{step.keyword} {step.name}",
    )
    lines = ["arch: amd64", *["#"] * 11, "[pre]", "lxc.apparmor.profile: lxc-phoenix-v2"]
    node = Machine({"/etc/pve/lxc/950.conf": "\n".join(lines)})
    with pytest.raises(AssertionError) as cause:
        every_line_is_in_effect(Runtime(node), 950)
    printed = f"{terminal._heading([outcome])}\n{cause.value}"
    [shown] = [token.content for token in texts(README, "fence") if scenario.name in token.content]
    assert shown.split() == printed.split()


def test_pages_are_linked_from_readme() -> None:
    links = {str(token.attrs["href"]) for token in texts(README, "link_open")}
    assert {f"docs/{page.name}" for page in PAGES.glob("*.md")} <= {
        link.partition("#")[0] for link in links
    }


def test_plan_is_the_document_word_for_word() -> None:
    _, _, document = (PAGES / "plan.md").read_text("utf-8").partition("\n---\n\n")
    assert hashlib.sha256(document.encode()).hexdigest() == PLAN
