"""The record of a run is whole however the run ends, and what is made from it says the same."""

import re
from xml.etree import ElementTree as ET

from markdown_it import MarkdownIt

from docker_lxc_gate.verdict.outputs.markdown import plain
from tests.unit.verdict.conftest import Toy


def suites(toy: Toy) -> list[ET.Element]:
    return [*ET.parse(toy.path / "reports/junit.xml").getroot()]  # noqa: S314 - ours


def test_record_has_each_scenario_in_the_plans_order_and_why_one_was_not_asked(toy: Toy) -> None:
    toy.feature("Then an assertion in a Then", name="a", tags="@id:driver @req:VAL-2")
    toy.feature("Given a target", "Then all is well", name="b", tags="@req:PRE-1 @req:VAL-3")
    toy.feature("Then an error in a Then", name="c", tags="@req:VAL-2")
    toy.feature("Then all is well", name="d", tags="@req:VAL-4")
    toy.run("-k", "not test_d", "--junit-prefix=token=hunter2")
    run = toy.verdict()
    assert run["command"].endswith("--junit-prefix=token=*** --no-report")
    assert [each["title"] for each in run["scenarios"]] == ["b", "a", "c", "d"]
    b, a, c, d = run["scenarios"]
    assert (a["id"], a["verdict"], a["cause"].partition("\n")[0]) == (
        *("driver", "not compliant", "the driver is overlay2"),
    )
    assert (a["where"], a["step"]) == ("features/a.feature:4", "Then an assertion in a Then")
    assert (b["verdict"], b["said"]) == ("compliant", ["the driver is fuse-overlayfs"])
    assert run["began"] < b["began"] < b["ended"] < run["ended"]
    results = {path.name for path in (toy.path / "reports/allure-results").iterdir()}
    assert len(b["files"]) > 1
    assert set(b["files"]) < results
    assert (d["verdict"], d["began"]) == ("not asked", None)
    assert "-k" in d["cause"]
    clauses = {each["id"]: each for each in run["requirements"]}
    assert {each: clauses[each]["verdict"] for each in ("PRE-1", "VAL-1", "VAL-2", "VAL-4")} == {
        "PRE-1": "compliant",
        "VAL-1": "not asked",
        "VAL-2": "not compliant",
        "VAL-4": "not asked",
    }
    assert (clauses["VAL-2"]["asked"], clauses["VAL-4"]["asked"]) == (2, 0)
    assert clauses["VAL-2"]["scenarios"] == [a["nodeid"], c["nodeid"]]
    [suite] = suites(toy)
    assert [case.get("name") for case in suite.findall("testcase")] == [
        *("PRE-1 VAL-3 b", "VAL-2 a", "VAL-2 c", "VAL-4 d")
    ]
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == [*"4111"]
    [error] = suite.findall("testcase/error")
    assert (error.get("type"), error.text) == ("undetermined", None)
    assert error.get("message") == "the answer has no driver"


def test_record_of_two_targets_has_a_suite_for_each(toy: Toy) -> None:
    toy.conftest("""
@pytest.fixture(scope="session", params=["pve1/1", "pve2/2"])
def target(request):
    record.about(request.config, request.param).host_key = f"ssh-ed25519 {request.param}"
    if request.param == "pve2/2":
        raise errors.TransportError("no route")
""")
    toy.feature('Then the value is "4"')
    toy.run()
    assert [(each["name"], each["host_key"]) for each in toy.verdict()["targets"]] == [
        *(("pve1/1", "ssh-ed25519 pve1/1"), ("pve2/2", "ssh-ed25519 pve2/2"))
    ]
    assert [(each.get("name"), each.get("errors")) for each in suites(toy)] == [
        *(("pve1/1", "0"), ("pve2/2", "1"))
    ]
    assert {each["name"] for each in toy.results()} == {"toy [pve1/1]", "toy [pve2/2]"}
    assert len({each["historyId"] for each in toy.results()}) == 2
    shown = [(one["name"], one["value"]) for each in toy.results() for one in each["parameters"]]
    assert sorted(shown) == [("target", "pve1/1"), ("target", "pve2/2")]
    environment = (toy.path / "reports/allure-results/environment.properties").read_text()
    assert "\npve1/1=compliant\n" in environment


def test_record_of_another_run_does_not_outlive_the_start_of_a_run(toy: Toy) -> None:
    toy.feature("Then all is well")
    toy.run()
    files = [toy.path / "reports" / name for name in ("verdict.json", "junit.xml")]
    page = toy.path / "reports/report/index.html"
    page.parent.mkdir()
    page.touch()
    toy.conftest("\n\ndef pytest_sessionstart(): raise pytest.UsageError('no')\n")
    assert toy.run().ret == 2
    assert [each for each in (*files, page) if each.exists()] == []


def test_list_of_what_would_run_keeps_the_record_of_the_last_run(toy: Toy) -> None:
    toy.feature("Then all is well")
    toy.run()
    toy.run("--setup-plan")
    assert toy.verdict()["code"] == 0


def test_clause_of_which_only_a_part_was_asked_says_so(toy: Toy) -> None:
    toy.feature("Then all is well", name="a", tags="@req:VAL-2")
    toy.feature("Then all is well", name="b", tags="@req:VAL-2")
    toy.run("-k", "test_a")
    [clause] = [each for each in toy.verdict()["requirements"] if each["id"] == "VAL-2"]
    assert (clause["verdict"], clause["cause"]) == (
        *("compliant", "only 1 of its 2 scenarios were asked"),
    )


HOSTILE = (
    "# compliant\n<img src=x>\n\n[a](http://evil) @all\n```\n# compliant\n| a | b |\n"
    + "x" * (1 << 20)
)


def test_report_of_hostile_text_is_short(toy: Toy) -> None:
    toy.conftest(f"""
@then("it is hostile")
def _(request):
    record.about(request.config).versions["Guest"] = {HOSTILE!r}
    evidence.say({HOSTILE!r})
    assert False, {HOSTILE!r}
""")
    toy.feature("Then it is hostile")
    toy.run()
    sizes = {path.name: path.stat().st_size for path in (toy.path / "reports").glob("*.*")}
    assert max(sizes.values()) < 200_000, sizes


def test_environment_with_hostile_names_has_each_in_one_line(toy: Toy) -> None:
    toy.conftest(r"""
@pytest.fixture(scope="session", params=["b/9\n# x"])
def target(request):
    versions = {"Docker\nVerdict": "compliant", "K": "a\\"}
    record.about(request.config, request.param).versions.update(versions)
""")
    toy.feature("Then an assertion in a Then")
    assert toy.run().ret == 1
    environment = (toy.path / "reports/allure-results/environment.properties").read_text()
    assert re.findall("(?m)^Verdict=(.*)", environment) == ["not compliant"]
    assert "\nK=a\\\\\n" in environment


def test_name_in_a_table_of_markdown_is_no_markup() -> None:
    title = "A ![x](http://evil/t) <img src=y> `a` | b\n# c"
    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse(f"| name |\n| --- |\n| {plain(title)} |\n")
    texts = [each for token in tokens for each in token.children or ()]
    assert {each.type for each in texts} == {"text"}
    assert texts[-1].content.startswith("A ![x](http://evil/t) <img src=y> `a` | b")
