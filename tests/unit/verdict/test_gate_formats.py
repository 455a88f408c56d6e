"""What is made from the record for other programs: CTRF, Prometheus, and GitHub's annotations."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from docker_lxc_gate.verdict.outputs import oscal
from docker_lxc_gate.verdict.record import Run, Verdict
from docker_lxc_gate.verdict.requirements import CATALOGUE
from tests.doubles.samples import DATA
from tests.unit.verdict.conftest import Toy

OSCAL = jsonschema_rs.validator_for(
    json.loads((DATA / "oscal-assessment-results-1.1.3.json").read_text()), validate_formats=True
)
_SERIES = re.compile(r'(\w+)\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\} (\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def series(path: Path) -> list[tuple[str, dict[str, str], float]]:
    """Return all series of a file, each line of which must be one or a comment."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# ")]
    found = [_SERIES.fullmatch(line) for line in lines]
    assert None not in found, lines
    return [(each[1], dict(_LABEL.findall(each[2])), float(each[3])) for each in found if each]


@pytest.fixture
def three(toy: Toy) -> Toy:
    """One scenario of each verdict, and one that is not asked."""
    toy.feature("Then an assertion in a Then", name="a", tags="@id:driver @req:VAL-2")
    toy.feature("Then all is well", name="b", tags="@req:VAL-3")
    toy.feature("Then an error in a Then", name="c", tags="@req:VAL-4")
    toy.feature("Then all is well", name="d", tags="@req:VAL-5")
    return toy


def test_ctrf_has_other_for_undetermined_and_skipped_for_not_asked(three: Toy) -> None:
    three.run("-k", "not test_d", "--ctrf", "out/ctrf.json")
    whole = json.loads((three.path / "out/ctrf.json").read_text())
    assert (whole["reportFormat"], whole["results"]["tool"]["name"]) == ("CTRF", "docker-lxc-gate")
    assert [(each["name"], each["status"], each["rawStatus"]) for each in cases(whole)] == [
        ("VAL-2 a", "failed", "not compliant"),
        ("VAL-3 b", "passed", "compliant"),
        ("VAL-4 c", "other", "undetermined"),
        ("VAL-5 d", "skipped", "not asked"),
    ]
    assert cases(whole)[0]["message"].partition("\n")[0] == "the driver is overlay2"
    assert (cases(whole)[0]["filePath"], cases(whole)[0]["line"]) == ("features/a.feature", 4)
    summary = whole["results"]["summary"]
    counted = {key: summary[key] for key in ("tests", "passed", "failed", "skipped", "other")}
    assert [*counted.values()] == [4, 1, 1, 1, 1]
    assert summary["start"] < summary["stop"]
    assert summary["extra"]["verdict"] == "not compliant"


def cases(whole: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = whole["results"]["tests"]
    return found


def test_oscal_has_findings_of_what_was_asked_and_excludes_the_rest(three: Toy) -> None:
    three.feature("Then an error in a Then", name="e", tags="@id:odd @req:PRE-1")
    waiver = {"scenario": '"odd"', "reason": '"w"', "owner": '"o"', "expires": "2999-12-31"}
    lines = "\n".join(f"{key} = {value}" for key, value in waiver.items())
    (three.path / "waivers.toml").write_text(f"[[waiver]]\n{lines}\n")
    three.run("-k", "not test_d", "--waivers", "waivers.toml", "--oscal", "oscal.json")
    [result] = assessed(three)
    found = {
        each["target"]["target-id"]: (*each["target"]["status"].values(), each["description"])
        for each in result["findings"]
    }
    assert found == {
        "PRE-1": (
            "not-satisfied",
            "other",
            "    the answer has no driver",
            "undetermined (waived)",
        ),
        "VAL-2": ("not-satisfied", "fail", found["VAL-2"][2], "not compliant"),
        "VAL-3": ("satisfied", "pass", "compliant"),
        "VAL-4": ("not-satisfied", "other", "    the answer has no driver", "undetermined"),
    }
    assert found["VAL-2"][2].startswith("    the driver is overlay2")
    [selection] = result["reviewed-controls"]["control-selections"]
    excluded = {each["control-id"] for each in selection["exclude-controls"]}
    assert excluded == CATALOGUE.keys() - found.keys()
    assert "    VAL-5: not asked, " in selection["remarks"]
    [risk] = result["risks"]
    assert (risk["status"], risk["deadline"][:10]) == ("deviation-approved", "2999-12-31")
    assert risk["statement"] == "    until 2999-12-31 by o: w"
    assert [each.get("related-risks") for each in result["findings"]] == [
        *([{"risk-uuid": risk["uuid"]}], None, None, None)
    ]


def test_oscal_of_one_record_is_one_file_without_an_empty_or_dangling_part(three: Toy) -> None:
    three.conftest("""
@pytest.fixture(scope="session", params=["root@pve1/950", "root@pve1/951"], autouse=True)
def target(request):
    record.about(request.config, request.param)
""")
    three.run("--oscal", "oscal.json")
    assert {each["title"] for each in assessed(three)} >= {"root@pve1/950", "root@pve1/951"}
    text = (three.path / "oscal.json").read_text()
    run = msgspec.json.decode((three.path / "reports/verdict.json").read_bytes(), type=Run)
    assert oscal.encoded(run) == text
    ids = re.findall(r'"uuid": "(.*)"', text)
    assert len(ids) == len(set(ids)) > 8
    assert set(re.findall(r'"(?:.*-uuid|href)": "#?([0-9a-f-]{36})"', text)) <= set(ids)


def test_oscal_of_a_run_that_asked_nothing_excludes_every_clause(toy: Toy) -> None:
    toy.compliant("a")
    assert toy.run("-k", "nothing", "--oscal", "oscal.json").ret == 3
    [result] = assessed(toy)
    assert "findings" not in result
    [selection] = result["reviewed-controls"]["control-selections"]
    assert [each["control-id"] for each in selection["exclude-controls"]] == [*CATALOGUE]


def test_oscal_has_what_a_guest_said_as_code_alone(toy: Toy) -> None:
    hostile = "is bad\n\n# forged\n[a](http://b)"
    toy.conftest(f"""
@then("it is hostile")
def _():
    evidence.say({hostile!r})
    assert False, {hostile!r}
""")
    toy.feature("Then it is hostile", tags="@req:VAL-1")
    toy.run("--oscal", "oscal.json")
    [result] = assessed(toy)
    said = [result["findings"][0]["target"]["status"], result["observations"][0]]
    lines = "\n".join(each["remarks"] for each in said).split("\n")
    assert sum("forged" in line for line in lines) == 3
    assert [line for line in lines if not line.startswith("    ")] == []


def assessed(toy: Toy) -> list[dict[str, Any]]:
    """Return the results of an OSCAL file, which is what NIST's schema allows."""
    whole = json.loads((toy.path / "oscal.json").read_text())
    OSCAL.validate(whole)
    results: list[dict[str, Any]] = whole["assessment-results"]["results"]
    return results


def test_metrics_have_each_clause_with_one_verdict(three: Toy) -> None:
    path = three.path / "out/gate.prom"
    path.parent.mkdir()
    three.run("--metrics", "out/gate.prom")
    assert (oct(path.stat().st_mode & 0o777), [*path.parent.iterdir()]) == ("0o644", [path])
    judged = [
        (labels["requirement"], labels["verdict"], value)
        for name, labels, value in series(path)
        if name == "docker_lxc_gate_requirement"
    ]
    assert len(judged) == len(CATALOGUE) * len(Verdict)
    assert sum(value for *_, value in judged) == len(CATALOGUE)
    assert ("VAL-2", "not compliant", 1.0) in judged
    assert ("VAL-2", "compliant", 0.0) in judged
    assert ("VAL-1", "not asked", 1.0) in judged
    values = {name: value for name, _, value in series(path)}
    assert values["docker_lxc_gate_exit_code"] == 1
    assert values["docker_lxc_gate_end_time_seconds"] > 1.7e9
    assert 0 < values["docker_lxc_gate_duration_seconds"] < 600


def test_metrics_of_a_target_with_an_odd_name_are_escaped(toy: Toy) -> None:
    odd = 'pve "1"\\950'
    toy.conftest(f"""
@pytest.fixture(scope="session", params=[{odd!r}])
def target(request):
    record.about(request.config, request.param)
""")
    toy.feature("Then all is well")
    toy.run("--metrics", "gate.prom")
    names = {labels.get("target") for _, labels, _ in series(toy.path / "gate.prom")}
    assert names == {None, "", r"pve \"1\"\\950"}


def test_metrics_of_the_last_run_stay_until_those_of_the_next_are_written(toy: Toy) -> None:
    toy.feature("Then all is well")
    toy.conftest("""
@pytest.fixture(autouse=True)
def _there(request):
    assert request.config.rootpath.joinpath("gate.prom").exists()
    assert not request.config.rootpath.joinpath("ctrf.json").exists()
""")
    (toy.path / "gate.prom").write_text("old 1\n")
    (toy.path / "ctrf.json").write_text("old")
    assert toy.run("--metrics", "gate.prom", "--ctrf", "ctrf.json").ret == 0
    assert "old" not in (toy.path / "gate.prom").read_text()


def test_metrics_of_a_clause_that_was_asked_in_part_say_so(toy: Toy) -> None:
    toy.feature("Then all is well", name="a", tags="@req:VAL-3")
    toy.feature("Then all is well", name="b", tags="@req:VAL-3")
    toy.run("-k", "test_a", "--metrics", "gate.prom")
    counts = [
        value
        for name, labels, value in series(toy.path / "gate.prom")
        if labels.get("requirement") == "VAL-3" and "scenarios" in name
    ]
    assert counts == [2, 1]


BROKEN = "def pytest_sessionfinish(): raise ValueError('guest said:\\n::error::forged')"


@pytest.mark.parametrize(
    ("more", "options", "status", "kind"),
    [
        ("", ["features", "test_plain.py"], "failed", "::error"),
        (BROKEN, [], "other", "::warning"),
        ("def pytest_unconfigure(): raise KeyboardInterrupt", [], "other", "::warning"),
        ("", ["-k", "nothing"], "other", "::warning"),
    ],
)
def test_what_no_scenario_tells_is_a_test_and_an_annotation(
    toy: Toy, more: str, options: list[str], status: str, kind: str
) -> None:
    toy.feature("Then all is well")
    toy.conftest(f"\n\n{more}\n")
    (toy.path / "test_plain.py").write_text("def test(): assert False")
    toy.apart = True
    done = toy.run(*options, "--format", "github", "--ctrf", "ctrf.json")
    whole = json.loads((toy.path / "ctrf.json").read_text())
    assert cases(whole)[-1]["suite"] == ["the run itself"]
    assert cases(whole)[-1]["status"] == status
    assert [line.partition(" ")[0] for line in commands(done)] == [kind]


def test_annotations_have_the_worst_first_and_as_an_error(toy: Toy) -> None:
    toy.feature("Then an error in a Then", name="a")
    toy.feature("Then an assertion in a Then", name="b")
    toy.feature("Then a rollback that fails", name="c")
    said = commands(toy.run("--format", "github"))
    assert [re.sub(" file.*title=", " ", line).partition("%")[0] for line in said] == [
        *("::error c", "::error b", "::warning a")
    ]


@pytest.mark.parametrize("options", [["--no-such-option"], ["-k", "a b"], ["--collect-only"]])
def test_commands_are_taken_again_where_nothing_was_judged(toy: Toy, options: list[str]) -> None:
    toy.feature("Then all is well")
    toy.apart = True
    said = toy.run("--format", "github", *options).stdout.str()
    ends = re.findall("^::[0-9a-f]{64}::$", said, re.MULTILINE)
    assert said.count("::stop-commands::") == len(ends)


def test_file_that_cannot_be_written_at_the_end_is_told_and_the_verdict_stays(toy: Toy) -> None:
    toy.feature("Then an assertion in a Then")
    (toy.path / "out").mkdir()
    toy.conftest("""
@pytest.fixture(autouse=True)
def _gone(request):
    request.config.rootpath.joinpath("out").rmdir()
""")
    done = toy.run("--metrics", "out/gate.prom", "--ctrf", "ctrf.json")
    assert done.ret == 1
    done.stdout.fnmatch_lines(["not written: *gate.prom*", "verdict: not compliant*"])
    assert (toy.path / "ctrf.json").exists()
    assert (toy.path / "reports/junit.xml").exists()


def test_link_that_somebody_puts_in_the_place_of_a_file_during_the_run_is_replaced(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what it leads to is written, nor are its permissions changed."""
    toy.compliant("a")
    toy.conftest("""
@pytest.fixture(autouse=True)
def _linked(request):
    for name in ("gate.prom", "ctrf.json", "junit.xml"):
        request.config.rootpath.joinpath(name).symlink_to("victim")
""")
    victim, chmod = toy.path / "victim", Path.chmod
    victim.write_text("v")
    victim.chmod(0o640)

    def linked(path: Path, mode: int) -> None:
        if path.name.startswith(".gate.prom"):
            path.unlink()
            path.symlink_to(victim)
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", linked)
    toy.run("--metrics", "gate.prom", "--ctrf", "ctrf.json", "--junit-xml", "junit.xml")
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("v", 0o640)
    modes = [(toy.path / each).lstat().st_mode & 0o777 for each in ("gate.prom", "ctrf.json")]
    assert modes == [0o644, 0o600]


@pytest.mark.parametrize("name", ["a link", "reports/../reports/verdict.json"])
def test_file_that_is_one_of_the_runs_by_another_name_is_refused(toy: Toy, name: str) -> None:
    toy.compliant("a")
    toy.run("--ctrf", "ctrf.json")
    (toy.path / "a link").symlink_to("reports/junit.xml")
    toy.apart = True
    assert toy.run("--ctrf", "ctrf.json", "--metrics", "no").ret == 2
    assert toy.run("--ctrf", name).ret == 2
    assert not (toy.path / "reports/verdict.json").exists()
    assert not (toy.path / "ctrf.json").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--metrics", "new/gate.prom"], "it cannot be written"),
        (["--metrics", "features"], "it cannot be written"),
        (["--ctrf", "features"], "it cannot be written"),
        (["--ctrf", "reports/.lock"], "it is another file of the run"),
        (["--ctrf", "reports/junit.xml"], "it is another file of the run"),
        (["--metrics", "gate.txt"], "it does not end in .prom"),
        (["--ctrf", "/proc/none/ctrf.json"], "it cannot be written"),
        (["--ctrf", "reports/verdict.json"], "it is another file of the run"),
        (["--junit-xml", "one.xml", "--ctrf", "one.xml"], "it is another file of the run"),
    ],
)
def test_file_that_cannot_be_is_a_usage_error_before_the_run(
    toy: Toy, options: list[str], why: str
) -> None:
    toy.feature("Then all is well")
    toy.apart = True
    done = toy.run(*options)
    assert done.ret == 2
    assert f"{options[-2]} {toy.path / options[-1]}: " in done.stderr.str()
    assert why in done.stderr.str()


def commands(done: pytest.RunResult) -> list[str]:
    """Return the commands that GitHub would take, which stand behind all other output."""
    lines = done.stdout.str().splitlines()
    [start] = [line for line in lines if line.startswith("::stop-commands::")]
    end = lines.index(f"::{start.removeprefix('::stop-commands::')}::")
    assert lines.index(start) < end
    assert [line for line in lines[: lines.index(start)] if line.startswith("::")] == []
    assert all(line.startswith("::") for line in lines[end + 1 :])
    return lines[end + 1 :]


@pytest.mark.parametrize("options", [(), ("-v",), ("-v", "--tb=native")])
def test_output_in_any_form_has_no_command_of_a_guests(toy: Toy, options: tuple[str, ...]) -> None:
    hostile = "is bad\n::error::forged\n  ::add-mask::a ##[error]b"
    toy.conftest(f"""
@then("it is hostile")
def _():
    evidence.say({hostile!r})
    pytest.fail({hostile!r}, pytrace=False)

def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line("::error::of a plugin")
""")
    toy.feature("Then it is hostile")
    lines = toy.run(*options).outlines
    assert r":\x3aerror::of a plugin" in lines
    assert r"  :\x3aadd-mask::a #\x23[error]b" in [f"  {line.strip()}" for line in lines]
    assert [line for line in lines if line.lstrip().startswith("::") or "##[" in line] == []


def test_annotations_are_those_of_github_and_a_guest_has_none(three: Toy) -> None:
    hostile = "is bad\n::error::forged, 100%\n::set-env name=A::b"
    three.conftest(f"""
@then("it is hostile")
def _():
    evidence.say({hostile!r})
    assert False, {hostile!r}
""")
    three.feature("Then it is hostile", name="e", tags="@req:VAL-1")
    first, second, third = commands(three.run("--format", "github"))
    assert first.startswith(
        "::error file=features/e.feature,line=4,title=VAL-1 e%3A not compliant::"
    )
    assert "is bad%0A  ::error::forged, 100%25%0A  ::set-env" in first
    assert second.startswith(
        "::error file=features/a.feature,line=4,title=VAL-2 a%3A not compliant"
    )
    assert third.startswith(
        "::warning file=features/c.feature,line=4,title=VAL-4 c%3A undetermined"
    )


def test_annotations_that_github_would_drop_are_counted(toy: Toy) -> None:
    toy.conftest("""
@then(parsers.parse("it is wrong {number}"))
def _(number):
    assert False, number
""")
    for number in range(13):
        toy.feature(f"Then it is wrong {number}", name=f"n{number}")
    for name in "uvw":  # they have one cause
        toy.feature("Then an error in a Then", name=name)
    said = commands(toy.run("--format", "github"))
    assert [line.partition(" ")[0] for line in said] == ["::error"] * 10 + ["::warning"]
    assert "title=u%3A undetermined (and 2 more)::" in said[10]
    assert said[9] == "::error title=docker-lxc-gate::4 more: see verdict.json"


def test_annotations_of_a_compliant_run_are_none_and_commands_are_taken_again(toy: Toy) -> None:
    toy.feature("Then all is well")
    assert commands(toy.run("--format", "github")) == []
    assert "::" not in toy.run().stdout.str()
