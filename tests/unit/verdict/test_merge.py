"""The records of shards become that of the whole run, and what no shard has is undetermined."""

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from markdown_it import MarkdownIt
from msgspec import structs

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.machines.fleet import Listing
from docker_lxc_gate.verdict import merge, record
from docker_lxc_gate.verdict.record import Expected, JudgedTarget, Outcome, Run, Shard, Verdict
from docker_lxc_gate.verdict.tally import OutcomeTally
from docker_lxc_gate.verdict.waivers import Waiver
from tests.unit.verdict.conftest import Toy

BEGAN, ENDED = (datetime(2026, 11, day, tzinfo=UTC) for day in (28, 29))
PLAN = "plain 1 (abc)"
#: As on a command line: two targets, and two nodes of which all containers are asked.
WHOLE = tuple(
    Expected(name, name[0], PLAN, shard)
    for name, shard in (("b/950", 2), ("a/951", 1), ("c/all", 1), ("d/all", 2))
)
WAIVER = Waiver(scenario="x", reason="r", owner="o", expires=date(2026, 11, 29))


def outcome(target: str, code: int = 0, **more: Any) -> Outcome:
    verdict = {0: Verdict.COMPLIANT, 1: Verdict.NOT_COMPLIANT}.get(code, Verdict.NO_RESULT)
    about = {"target": target, "requirements": ("VAL-2",), "began": BEGAN, "ended": ENDED}
    about |= {"verdict": verdict, "code": code, "cause": f"why {code}"}
    return Outcome(f"f::a[{target}]", "a", **{**about, **more})


def run(number: int, *outcomes: Outcome, of: int = 2, **more: Any) -> Run:
    """Return the record of a shard."""
    nodes = [Listing("c/all", (900, 901))] if number == 1 else [Listing("d/all", (902,))]
    about: dict[str, Any] = {"version": "1", "commit": "abc", "clean": True, "nodes": nodes}
    about |= {"code": max((each.code for each in outcomes), default=0), "user": "u"}
    about |= {"shard": Shard(number, of, WHOLE), "machine": f"m{number}", "began": BEGAN}
    about |= {"targets": [JudgedTarget(each.target, PLAN) for each in outcomes], "ended": ENDED}
    return Run(command="pytest", **{"scenarios": [*outcomes], **about, **more})


ONE = (outcome("a/951"), outcome("c/900"), outcome("c/901"))
TWO = (outcome("b/950"), outcome("d/902"))


def merged(*runs: Run) -> Run:
    """Return the record that the gate makes of those of shards."""
    gate: Any = SimpleNamespace(
        tally=OutcomeTally(), screen=SimpleNamespace(several=False), asked=True
    )
    plugins = SimpleNamespace(get_plugin=lambda _: gate)
    config: Any = SimpleNamespace(stash=pytest.Stash(), pluginmanager=plugins)
    now = datetime.now(UTC)
    gate.run = Run(
        version="2", commit="", clean=None, command="", user="", machine="", began=now, ended=now
    )
    by_number = {run.shard.number: run for run in runs if run.shard}
    assert runs[0].shard
    merge._take(config, gate, runs[0].shard, by_number)
    gate.run.code = gate.tally.code(pytest.ExitCode.NO_TESTS_COLLECTED)
    return record.completed(gate.run, config, gate.tally.settled())


def verdicts(whole: Run) -> dict[str, set[str]]:
    """Return by target what its clauses are, with their causes."""
    targets = [each.name for each in whole.targets]
    said = {(each.target, f"{each.verdict}: {each.cause}") for each in whole.requirements}
    return {name: {text for target, text in said if target == name} for name in targets}


def test_merge_has_targets_as_the_command_line_and_when_and_where_they_were_judged() -> None:
    later = datetime(2026, 11, 30, tzinfo=UTC)
    whole = merged(run(1, *ONE, clean=False), run(2, *TWO, began=later, ended=later))
    assert (whole.code, whole.verdict, whole.shard) == (0, "compliant", None)
    names = [each.name for each in whole.targets]
    assert names == ["b/950", "a/951", "c/900", "c/901", "d/902"]
    assert [each.target for each in whole.scenarios] == names
    assert [each.node for each in whole.nodes] == ["c/all", "d/all"]
    assert (whole.began, whole.ended, whole.machine) == (BEGAN, later, "m1; m2")
    assert (whole.version, whole.commit, whole.clean) == ("1", "abc", False)


@pytest.mark.parametrize(
    ("codes", "code"), [((0, 1), 1), ((3, 0), 3), ((3, 1), 1), ((130, 1), 130), ((6, 3), 6)]
)
def test_merge_ends_with_the_worst_code_of_the_shards(codes: tuple[int, int], code: int) -> None:
    assert merged(*(run(n, *ONE, code=each) for n, each in enumerate(codes, 1))).code == code


def test_merge_without_a_shard_is_undetermined_and_names_its_targets() -> None:
    whole = merged(run(1, *ONE))
    assert whole.code == 3
    assert whole.problems == ["shard 2 of 2 is missing or broke off: it has b/950, d/all"]
    asked = verdicts(whole)
    assert [*asked] == ["b/950", "a/951", "c/900", "c/901", "d/all"]
    assert asked["b/950"] == asked["d/all"] == {"undetermined: the target was not judged"}
    assert dict(row[:2] for row in whole.by_target)["d/all"] == "undetermined"


@pytest.mark.parametrize(
    ("shards", "problem"),
    [
        (
            [run(1, *ONE, of=3), run(2, *TWO, of=3)],
            "3 of 3 is missing or broke off: it has no target",
        ),
        ([run(1, *ONE), run(2, nodes=[])], "2 of 2 is missing or broke off: it has b/950, d/all"),
    ],
    ids=["no node", "no target of its own"],
)
def test_merge_without_a_shards_targets_is_undetermined(shards: list[Run], problem: str) -> None:
    whole = merged(*shards)
    assert (whole.code, whole.problems) == (3, [f"shard {problem}"])


def test_merge_of_a_node_that_could_not_be_listed_tells_that_once() -> None:
    why = "d/all: cannot reach d: no route"
    whole = merged(run(1, *ONE), run(2, TWO[0], nodes=[], problems=[why], code=3))
    assert (whole.code, whole.problems) == (3, [why])
    assert [each.name for each in whole.targets][-1] == "c/901"


def test_merge_keeps_why_a_shard_has_no_result_and_a_long_cause_as_it_is() -> None:
    cause = "y" * 8000 + "\n[... 14032 bytes left out ...]\n" + "z" * 8000
    lost = outcome("b/950", 6, ended=None, cause="interrupted")
    whole = merged(run(1, outcome("a/951", 1, cause=cause)), run(2, lost, code=130))
    assert [each.cause for each in whole.scenarios] == ["interrupted", cause]
    assert (whole.code, whole.verdict) == (130, "interrupted")


def test_merge_waives_what_was_waived_on_the_day_of_the_run() -> None:
    red = outcome("a/951", 1, id="x", waiver=WAIVER)
    uses = [record.Used(WAIVER, record.Use.MATCHED)]
    one = run(1, red, code=0, waivers=uses, nodes=[Listing("c/all")])
    whole = merged(one, run(2, *TWO, waivers=uses))
    assert (whole.code, whole.waivers) == (0, uses)
    assert whole.verdict == "compliant, but for what is waived"


def test_merge_of_one_target_keeps_what_it_says_of_an_included_plan() -> None:
    one = outcome("b/950", included="plain")
    assert {each.included for each in merged(run(2, one, nodes=[]), run(1)).scenarios} == {""}
    alone = Shard(1, 1, WHOLE[:1])
    assert merged(run(1, one, shard=structs.replace(alone))).scenarios[0].included == "plain"


def _shard(**of: Any) -> dict[str, Any]:
    return {"shard": structs.replace(Shard(2, 2, WHOLE), **of)}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({**_shard(number=1), "scenarios": [], "targets": []}, "are both shard 1"),
        (_shard(of=3), "the shards, targets or plans differ"),
        (_shard(expected=WHOLE[1:]), "the shards, targets or plans differ"),
        (
            _shard(expected=(structs.replace(WHOLE[0], plan="plain 1 (abd)"), *WHOLE[1:])),
            "the shards, targets or plans differ",
        ),
        ({"version": "0"}, "the versions of the gate differ"),
        ({"commit": "abd"}, "the versions of the gate differ"),
        ({"waivers": [record.Used(WAIVER, record.Use.UNUSED)]}, "the waivers differ"),
        ({"shard": None}, "is no record of a shard"),
        # What would hide that the other shard is red.
        ({"code": 256}, "has the exit code 256, which no run ends with"),
        ({"scenarios": [*TWO, outcome("d/903", 7)]}, "has the exit code 7"),
        ({"scenarios": [*TWO, outcome("a/951")]}, "has a/951, which is not of shard 2 of 2"),
        ({"targets": [JudgedTarget("c/900", PLAN)]}, "has c/900, which is not of shard 2 of 2"),
    ],
)
def test_merge_of_what_is_no_shard_of_one_run_is_one_error_that_names_both(
    tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    for name, each in (("one", run(1, *ONE)), ("two", run(2, *TWO, **more))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "verdict.json").write_text(record.encoded(each))
    with pytest.raises(UsageError, match=said) as error:
        merge._read([f"{tmp_path}/one", f"{tmp_path}/two/verdict.json"], tmp_path)
    assert f"{tmp_path}/two/verdict.json" in str(error.value)
    with pytest.raises(UsageError, match="would be replaced: name another folder by --output"):
        merge._read([f"{tmp_path}/one"], tmp_path / "one")


#: Without the steps: two targets, each in a shard of its own.
_TWO = """
NAMED = ("b/950", "a/951")

def pytest_addoption(parser):
    parser.addoption("--shard", default="")

def pytest_configure(config):
    given = config.getoption("--shard")
    whole = tuple(record.Expected(n, n[0], "plain", at) for n, at in zip(NAMED, (2, 1)))
    config.own = [each.name for each in whole if not given or each.shard == int(given[0])]
    if given:
        config.stash[record.SHARD] = record.Shard(int(given[0]), 2, whole)

def pytest_generate_tests(metafunc):
    metafunc.parametrize("target", metafunc.config.own, indirect=True, scope="session")

@pytest.fixture(scope="session")
def target(request):
    record.about(request.config, request.param).host_key = f"ssh-ed25519 {request.param}"
    return request.param

@then("it depends on the target")
def _(target):
    evidence.say(target)
    assert target != "a/951", "the driver is overlay2\\n" + "x" * 40_000
"""
_OF_TIME = {"began", "ended", "seconds", "files", "command"}


def timeless(value: Any) -> Any:
    """Return a record without times and names of files, and without the command line."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if key not in _OF_TIME}
    return [*map(timeless, value)] if isinstance(value, list) else value


def test_shards_that_are_merged_equal_the_whole_run_but_for_times(toy: Toy) -> None:
    toy.conftest(_TWO)
    toy.feature("Then it depends on the target", name="a", tags="@id:driver @req:VAL-2")
    toy.feature("Then it depends on the target", name="b", tags="@req:VAL-3")
    select = ("-k", "not test_b")
    for number in "12":
        own = ("--alluredir", number, "--junit-xml", f"{number}/junit.xml")
        assert toy.run("--shard", f"{number}/2", *own, *select).ret == 2 - int(number)
    assert toy.verdict("1")["shard"]["number"] == 1
    outputs = ("--ctrf", "ctrf.json", "--metrics", "gate.prom", "--format", "github")
    done = toy.run("--merge", "2", "--merge", "1/verdict.json", *outputs)
    merged = toy.verdict()
    assert (merged["began"], merged["ended"]) == (
        *(toy.verdict("1")["began"], toy.verdict("2")["ended"]),
    )
    assert "::error file=features/a.feature,line=4,title=a/951 VAL-2 a%3A" in done.stdout.str()
    assert json.loads((toy.path / "ctrf.json").read_text())["results"]["summary"]["tests"] == 4
    assert 'requirement="VAL-2",verdict="not compliant"} 1' in (toy.path / "gate.prom").read_text()
    assert "<failure" in (toy.path / "reports/junit.xml").read_text()
    assert "a/951: a**" in (toy.path / "reports/summary.md").read_text()
    evidence = {each.name for each in (toy.path / "reports/allure-results").iterdir()}
    assert {name for each in merged["scenarios"] for name in each["files"]} <= evidence
    assert len([name for name in evidence if name.endswith("-result.json")]) == 4
    whole = toy.run(*select)
    assert timeless(merged) == timeless(toy.verdict())
    assert done.ret == whole.ret == 1
    tables = [each.stdout.str().partition("target  ")[2] for each in (whole, done)]
    assert tables[1].startswith(tables[0])


def test_merge_of_a_record_with_hostile_names_has_them_in_one_line_and_as_no_markup(
    toy: Toy,
) -> None:
    """Keys, titles and targets are those of whoever wrote the shard's record."""
    name, title = "b/9\n# x", "A ![x](http://evil/t) <img src=y> `a`\n\n# forged | b \\"
    versions = {"Docker\nVerdict": "compliant", "K\r\x1b[2J": "a\\", "Z": "z"}
    shard = Shard(1, 1, (Expected(name, "b", PLAN, 1), Expected("b/951", "b", PLAN, 1)))
    both = outcome(name, 1, where="*a*"), outcome("b/951")
    red, green = (structs.replace(each, title=title) for each in both)
    targets = [JudgedTarget(name, PLAN, versions=versions), JudgedTarget("b/951", PLAN)]
    one = run(1, red, green, shard=shard, targets=targets, nodes=[])
    toy.feature("Then all is well")
    (toy.path / "verdict.json").write_text(record.encoded(one))
    assert toy.run("--merge", "verdict.json", "--oscal", "oscal.json").ret == 1
    assert {"Docker\\nVerdict", r"K\x0d\x1b[2J"} <= {*toy.verdict()["targets"][0]["versions"]}
    environment = (toy.path / "reports/allure-results/environment.properties").read_text()
    assert re.findall("(?m)^Verdict=(.*)", environment) == ["not compliant"]
    assert r"(b/9\\n#\ x)=a\\" + "\n" in environment
    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse((toy.path / "reports/summary.md").read_text())
    assert [each.tag for each in tokens if each.type == "heading_open"] == ["h1", "h2", "h2"]
    texts = [each for token in tokens for each in token.children or ()]
    assert {each.type for each in texts} == {"text", "strong_open", "strong_close"}
    shown = title.replace("\n", "\\n")
    assert [each.content for each in texts].count(shown) == 2, "in the table of each target"
    [risky, _] = json.loads((toy.path / "oscal.json").read_text())["assessment-results"]["results"]
    for text, whole in ((risky["title"], "b/9\\n# x"), (risky["observations"][0]["title"], shown)):
        [inline] = [each for each in markdown.parse(text) if each.type == "inline"]
        assert [each.content for each in inline.children or ()] == [whole]


def test_merge_of_shards_of_two_days_is_refused(tmp_path: Path) -> None:
    """A file of the day before, in the place of a shard that is missing today."""
    for name, each in (("one", run(1, *ONE)), ("two", run(2, *TWO, began=BEGAN - timedelta(1)))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "verdict.json").write_text(record.encoded(each))
    with pytest.raises(UsageError, match=r"two/verdict.json began 1 day, 0:00:00 before"):
        merge._read([f"{tmp_path}/one", f"{tmp_path}/two"], tmp_path)


def test_merge_of_a_container_that_was_listed_and_has_no_scenario_is_undetermined() -> None:
    targets = [JudgedTarget(name, PLAN) for name in ("b/950", "d/902", "d/904")]
    whole = merged(run(1, *ONE[:2]), run(2, *TWO, targets=targets))
    assert whole.code == record.UNKNOWN
    assert [each.partition(" ")[0] for each in whole.problems] == ["c/901", "d/904"]
