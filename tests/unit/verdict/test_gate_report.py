"""Evidence hangs where it belongs, secrets stay out, and the report says where it is."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from docker_lxc_gate import home
from docker_lxc_gate.verdict.evidence import redact, shortened
from docker_lxc_gate.verdict.outputs import allure_bridge
from docker_lxc_gate.verdict.record import Verdict
from docker_lxc_gate.verdict.verdicts import Judgement
from tests.unit.verdict.conftest import Toy, step

_ROOT = Path(__file__).parents[3]
_OURS = _ROOT / "node_modules/.bin"
ALLURE = shutil.which("allure", path=f"{_OURS}{os.pathsep}{os.environ['PATH']}")


def test_results_have_commands_on_the_step_or_fixture_that_ran_them(toy: Toy) -> None:
    toy.feature("Given a target", "Then all is well")
    toy.run()
    [result] = toy.results()
    [given] = toy.attached(step(result, "Given a target"))
    [then] = toy.attached(step(result, "Then all is well"))
    assert "$ echo given\n  given\n" in given
    assert "on localhost: exit code 3 after 0.0 s" in then
    assert "UTC" in then
    assert "\n  then\n# standard error:\n  token=***\n" in then
    assert "echo given" not in then
    [said] = step(result, "all is well")["steps"]
    assert said["name"] == "the driver is fuse-overlayfs"
    befores = [each for one in toy.results("container") for each in one.get("befores", [])]
    [before] = [each for each in befores if each["name"] == "machine"]
    assert not [one for each in toy.results("container") for one in each.get("afters", [])]
    assert "$ echo set-up" in toy.attached(before)[0]
    assert "$ echo clean-up" in toy.attached(result)[0]


def test_results_have_what_was_not_asked_and_why(toy: Toy) -> None:
    toy.feature("Then all is well", name="a", tags="@req:VAL-2")
    toy.compliant("b")
    toy.run("-k", "not test_a")
    found = map(json.loads, map(Path.read_text, (toy.path / "reports").rglob("*-result.json")))
    [left] = [each for each in found if each["status"] == "skipped"]
    assert left["name"] == "a"
    assert left["statusDetails"]["message"].startswith("not asked: left out by the command line")
    assert left["labels"][0]["value"].startswith("VAL-2 ")
    assert {"name": "severity", "value": "blocker"} in left["labels"]


def test_results_are_those_of_this_run_and_describe_the_scenario(toy: Toy) -> None:
    toy.text(
        "Feature: Storage\n @req:VAL-2\n Scenario: The driver\n  In words.\n  Then all is well"
    )
    toy.run()
    toy.run()
    [result] = toy.results()
    described = "**VAL-2** Docker's storage driver is fuse-overlayfs\n\nIn words."
    assert result["description"] == described
    assert {"name": "feature", "value": "Storage"} in result["labels"]
    clause = "VAL-2 Docker's storage driver is fuse-overlayfs"
    assert {"name": "epic", "value": clause} in result["labels"]
    assert {"name": "severity", "value": "blocker"} in result["labels"]
    assert not [each for each in result["labels"] if each["name"] == "cause"]
    environment = (toy.path / "reports/allure-results/environment.properties").read_text()
    assert "Coverage=1 of 23 clauses asked" in environment
    assert re.search(r"(?m)^Judged=20\S+ [0-9:]{8} to 20\S+ [0-9:]{8} UTC$", environment)
    assert "Kernel\\ (node)=6.12 = new" in environment
    junit = (toy.path / "reports" / "junit.xml").read_text()
    assert junit.count('<property name="verdict" value="compliant" />') == 1
    assert junit.count('<property name="requirement" value="VAL-2" />') == 1


def test_result_that_is_not_compliant_has_its_cause_and_the_page_about_it(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.feature("Then an assertion in a Then", tags="@req:VAL-2")
    page = "docs/troubleshooting.md#frequent-red-verdicts"
    own, links = "https://d.example/own/", ["plan.md", "troubleshooting.md"]
    for named, words, address in (
        ("", [], ""),
        (own, [], own),
        (own, ["--docs-url", "https://d.example/docs"], "https://d.example/docs/"),
    ):
        monkeypatch.setattr(home, "documentation", lambda named=named: named)
        toy.run(*words)
        [result] = toy.results()
        assert {"name": "cause", "value": "Storage"} in result["labels"]
        assert result["description"].endswith(f"Storage: see `{page}`")
        found = [each["url"].partition("#")[0] for each in result.get("links", [])]
        assert found == [f"{address}{each}" for each in links if address]
    toy.apart = True
    assert toy.run("--docs-url", "d.example").ret == 2


@pytest.mark.parametrize(
    ("name", "requirement", "message"),
    [
        (
            "Version of runc",
            "VAL-3",
            "the profile refuses that without a record; it has runc version 1.3.3",
        ),
        ("Confinement and denials", "STEP-2.2", "user 1000 of container 950 is the node's root"),
        ("Configuration", "VAL-1", "'nesting 1' is no option"),
        ("Storage", "STEP-3.1", "daemon.json names the storage driver 'vfs'"),
        ("Other causes", "PRE-1", "there is no backup of container 950 that counts"),
    ],
)
def test_cause_is_that_of_the_message_else_that_of_the_clause(
    name: str, requirement: str, message: str
) -> None:
    red = Judgement(Verdict.NOT_COMPLIANT, 1, message)
    assert allure_bridge.cause(red, [requirement])[0] == name
    unknown = Judgement(Verdict.UNDETERMINED, 3, message)
    assert allure_bridge.cause(unknown, [requirement])[0] == "Could not tell"


def test_causes_are_the_categories_of_the_page() -> None:
    [listed] = re.findall(r"(?s)causes = \[(.*?)\];", (_ROOT / "allurerc.mjs").read_text())
    assert re.findall(r'"(.+?)"', listed) == [
        *(name for name, *_ in allure_bridge.CAUSES),
        "Could not tell",
    ]


@pytest.mark.parametrize(
    ("build", "variables"),
    [
        ("", {"GITHUB_SERVER_URL": "https://g.example"}),
        ("", {"BUILD_URL": "javascript:alert(1)"}),
        (
            "https://j.example/job/1/?token=***",
            {"BUILD_URL": "https://j.example/job/1/?token=hunter2"},
        ),
        ("https://l.example/-/jobs/1", {"CI_JOB_URL": "https://l.example/-/jobs/1"}),
        (
            "https://g.example/o/r/actions/runs/7",
            {
                "GITHUB_SERVER_URL": "https://g.example",
                "GITHUB_REPOSITORY": "o/r",
                "GITHUB_RUN_ID": "7",
            },
        ),
    ],
)
def test_results_name_the_build_that_made_them(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, build: str, variables: dict[str, str]
) -> None:
    for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "CI_JOB_URL", "BUILD_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    toy.feature("Then all is well")
    toy.run()
    executor = (toy.path / "reports/allure-results/executor.json").read_text()
    assert json.loads(executor) == {"buildUrl": build}


def test_results_give_allure_no_address_to_make_a_link_of(toy: Toy) -> None:
    toy.conftest("""
@then("a guest says an address")
def _():
    evidence.say("version https://evil.example/a")
    assert False, "not www.evil.example, but https://evil.example/b"
""")
    toy.feature("Then a guest says an address")
    toy.run()
    [result] = toy.results()
    [step] = result["steps"]
    assert step["steps"][0]["name"] == "version https[:]//evil.example/a"
    for each in (result, step):  # the same, or Allure shows both
        message = each["statusDetails"]["message"]
        assert "not www[.]evil.example, but https[:]//evil.example/b" in message


@pytest.mark.laws
def test_results_go_to_the_folder_asked_for(toy: Toy) -> None:
    toy.feature("Then all is well")
    toy.run("--alluredir=kept", "--junitxml=kept.xml")
    toy.run("--alluredir=kept", "--junitxml=kept.xml")
    assert len(toy.results(at="kept")) == 2
    assert not (toy.path / "reports").exists()
    toy.run("--alluredir=kept", "--clean-alluredir")
    assert len(toy.results(at="kept")) == 1


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.laws
@pytest.mark.usefixtures("usual_umask")
def test_results_in_a_folder_that_exists_are_closed_to_others(toy: Toy) -> None:
    """A local target keeps the user's umask: what is made there is no part of the report."""
    toy.conftest("""
@given("a file of a local target")
def _(machine):
    machine.run(["touch", "of-the-target"])
    import allure
    allure.attach.file("of-the-target", "a file")
""")
    toy.feature("Given a file of a local target", "Then all is well", tags="@req:VAL-2")
    for folder in ("kept", "elsewhere"):
        (toy.path / folder).mkdir(mode=0o755)
    junit = toy.path / "elsewhere" / "junit.xml"
    junit.write_text("of another run")
    junit.chmod(0o644)
    (toy.path / "kept" / "environment.properties").write_text("of another run")
    done = toy.run("--alluredir=kept", "--junit-xml=elsewhere/junit.xml")
    assert done.ret == 0
    files = [*(toy.path / "kept").iterdir(), junit]
    assert len(files) > 6
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []
    assert b"testsuite" in junit.read_bytes()
    assert (toy.path / "of-the-target").stat().st_mode & 0o777 == 0o644


@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("given", [None, "new/junit.xml", "$HOME/junit.xml"])
def test_results_in_new_folders_are_closed_to_others(toy: Toy, given: str | None) -> None:
    toy.feature("Then all is well")
    toy.run("--alluredir=new/results", *([f"--junit-xml={given}"] if given else []))
    where = Path(os.path.expandvars(given)) if given else Path("reports/junit.xml")
    files = [toy.path / where, toy.path / "new/results", *(toy.path / "new/results").iterdir()]
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []


@pytest.fixture
def renderer(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    def make(script: str | None) -> None:
        monkeypatch.setattr(home, "HOME", toy.path)
        (toy.path / "pyproject.toml").write_text('[project]\nversion = "0"\n')
        monkeypatch.setenv("PATH", str(toy.path / "bin"), prepend=":")
        path = toy.path / "node_modules" / ".bin" / "allure"
        path.parent.mkdir(parents=True)
        if script is None:
            monkeypatch.setattr(shutil, "which", lambda name: None)
        else:
            path.write_text(script)
            path.chmod(0o755)

    return make


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (None, "npm's allure is not installed"),
        ("#!/bin/sh\necho no such option >&2; exit 1\n", "no such option"),
        ("#!/nix/node\n", "No such file"),
        ("#!/bin/sh\nexit 0\n", "no page"),
    ],
)
def test_report_that_cannot_be_rendered_is_said_and_changes_no_verdict(
    toy: Toy, renderer: Callable[[str | None], None], script: str | None, says: str
) -> None:
    renderer(script)
    toy.feature("Then all is well")
    seen = toy.run(report=True)
    assert seen.ret == 0
    seen.stdout.fnmatch_lines([f"report: not rendered, *{says}*; results: reports/allure-results"])


def test_page_that_is_exchanged_for_a_link_is_replaced(
    toy: Toy, renderer: Callable[[str | None], None]
) -> None:
    (victim := toy.path / "victim").write_text("v")
    renderer(f"#!/bin/sh\nmkdir -p report; ln -s {victim} report/index.html\n")
    toy.feature("Then all is well")
    toy.run(report=True)
    assert victim.read_text() == "v"
    assert not (toy.path / "reports/report/index.html").is_symlink()


@pytest.mark.skipif(not ALLURE, reason="npm's allure is not installed")
def test_report_is_one_file_that_calls_nobody(toy: Toy) -> None:
    toy.feature("Then an assertion in a Then")
    seen = toy.run(report=True)
    assert seen.ret == 1
    seen.stdout.fnmatch_lines(["report: reports/report/index.html"])
    page = (toy.path / "reports" / "report" / "index.html").read_text()
    assert "Docker in unprivileged LXC" in page
    assert "googletagmanager" not in page
    written = {path.name for path in toy.path.iterdir()} - {"__pycache__"}
    assert written == {"conftest.py", "features", "pytest.ini", "reports"}


def test_report_holds_no_planted_secret_in_any_file(toy: Toy) -> None:
    toy.conftest("""
@pytest.fixture
def leaking(machine):
    machine.run(["sh", "-c", "echo API_KEY=hunter2; echo PGPASSWORD=hunter2 >&2"])
    print("printed: token=hunter2")
    raise errors.FactError("curl https://hunter2@host ended with 7")

@given("what leaks")
def _(leaking): raise NotImplementedError

@then("a step leaks")
def _(machine):
    evidence.say("Bearer hunter2-hunter2")
    assert False, "mysql --password=hunter2"
""")
    toy.feature("Given what leaks", "Then all is well", name="a")
    toy.feature("Then a step leaks", name="b")
    seen = toy.run()
    assert seen.ret == 1
    assert "hunter2" not in seen.stdout.str() + seen.stderr.str()
    files = [path for path in (toy.path / "reports").rglob("*") if path.is_file()]
    assert any("container" in path.name for path in files)
    assert [path.name for path in files if b"hunter2" in path.read_bytes()] == []


def test_redact_removes_colours_and_masks_secrets() -> None:
    assert redact("\x1b[1;31mlogin --token hunter2\x1b[0m") == "login --token ***"


def test_shortened_text_has_lost_its_middle() -> None:
    assert shortened("a" * 20, 10) == "a" * 20
    assert shortened("a" * 10 + "ü" * 7 + "b" * 10, 10) == (
        "a" * 10 + "\n[... 14 bytes left out ...]\n" + "b" * 10
    )
