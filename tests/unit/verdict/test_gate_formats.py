"""What is made from the record for other programs: Prometheus, and GitHub's annotations."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from docker_lxc_gate.verdict.record import Verdict
from docker_lxc_gate.verdict.requirements import CATALOGUE
from tests.unit.verdict.conftest import Toy

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
    assert not request.config.rootpath.joinpath("out.xml").exists()
""")
    (toy.path / "gate.prom").write_text("old 1\n")
    (toy.path / "out.xml").write_text("old")
    assert toy.run("--metrics", "gate.prom", "--junit-xml", "out.xml").ret == 0
    assert "old" not in (toy.path / "gate.prom").read_text()


BROKEN = "def pytest_sessionfinish(): raise ValueError('guest said:\\n::error::forged')"


@pytest.mark.parametrize(
    ("more", "code", "problem", "kinds"),
    [
        ("", 1, "a test that is no scenario failed", "::error"),
        (BROKEN, 3, "ValueError('guest said:", "::warning"),
        (
            "def pytest_unconfigure(): raise ValueError('boom')",
            3,
            "ValueError('boom')",
            "::warning",
        ),
        (
            "def pytest_runtest_logstart(): raise ValueError('boom')",
            6,
            "ValueError('boom')",
            "::warning ::warning",
        ),
        ("def pytest_runtest_logstart(): raise KeyboardInterrupt", 130, "", "::warning"),
        (
            "def pytest_unconfigure(): raise KeyboardInterrupt",
            130,
            "KeyboardInterrupt()",
            "::warning",
        ),
    ],
)
def test_what_no_scenario_tells_is_on_record_and_a_test_and_an_annotation(
    toy: Toy, more: str, code: int, problem: str, kinds: str
) -> None:
    toy.feature("Then all is well")
    toy.conftest(f"\n\n{more}\n")
    if not more:
        (toy.path / "features/test_plain.py").write_text("def test(): assert False")
    toy.apart = True
    done = toy.run("--format", "github")
    run = toy.verdict()
    assert (run["code"], len(run["scenarios"])) == (code, 1)
    assert problem in "".join(run["problems"])
    *_, last = ET.parse(toy.path / "reports/junit.xml").getroot()  # noqa: S314 - ours
    itself = (last.get("name"), last.get("errors")) == ("the run itself", "1")
    assert itself == bool(problem)
    assert [line.partition(" ")[0] for line in commands(done)] == kinds.split()


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
    done = toy.run("--metrics", "out/gate.prom")
    assert done.ret == 1
    done.stdout.fnmatch_lines(["not written: *gate.prom*", "verdict: not compliant*"])
    assert (toy.path / "reports/junit.xml").exists()


def test_link_that_somebody_puts_in_the_place_of_a_file_during_the_run_is_replaced(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what it leads to is written, nor are its permissions changed."""
    toy.compliant("a")
    toy.conftest("""
@pytest.fixture(autouse=True)
def _linked(request):
    for name in ("gate.prom", "junit.xml", "reports/verdict.json"):
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
    toy.run("--metrics", "gate.prom", "--junit-xml", "junit.xml")
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("v", 0o640)
    modes = [(toy.path / each).lstat().st_mode & 0o777 for each in ("gate.prom", "junit.xml")]
    assert modes == [0o644, 0o600]


@pytest.mark.parametrize("name", ["a link", "reports/../reports/verdict.json"])
def test_file_that_is_one_of_the_runs_by_another_name_is_refused(toy: Toy, name: str) -> None:
    toy.compliant("a")
    toy.run("--junit-xml", "out.xml")
    (toy.path / "a link").symlink_to("reports/junit.xml")
    toy.apart = True
    assert toy.run("--junit-xml", "out.xml", "--metrics", "no").ret == 2
    assert toy.run("--metrics", name).ret == 2
    assert not (toy.path / "reports/verdict.json").exists()
    assert not (toy.path / "out.xml").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--metrics", "new/gate.prom"], "it cannot be written"),
        (["--metrics", "features"], "it is no regular file"),
        (["--junit-xml", "/dev/stdout"], "it is no regular file"),
        (["--metrics", "reports/.lock"], "it is another file of the run"),
        (["--junit-xml", "reports/verdict.json"], "of the run: name another file"),
        (["--junit-xml", "/proc/none/a.xml"], "it cannot be written"),
        (["--metrics", "gate.txt"], "it does not end in .prom"),
        (["--junit-xml", "one.xml", "--metrics", "one.xml"], "it is another file of the run"),
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


def test_annotations_are_those_of_github_the_worst_first_and_a_guest_has_none(three: Toy) -> None:
    hostile = "is bad\n::error::forged, 100%\n::set-env name=A::b"
    three.conftest(f"""
@then("it is hostile")
def _():
    evidence.say({hostile!r})
    assert False, {hostile!r}
""")
    three.feature("Then it is hostile", name="e", tags="@req:VAL-5")
    three.feature("Then a rollback that fails", name="f", tags="@req:VAL-5")
    said = commands(three.run("--format", "github"))
    assert [line.partition("::")[2].partition("::")[0] for line in said] == [
        "error file=features/f.feature,line=4,title=VAL-5 f%3A undetermined",
        "error file=features/a.feature,line=4,title=VAL-2 a%3A not compliant",
        "error file=features/e.feature,line=4,title=VAL-5 e%3A not compliant",
        "warning file=features/c.feature,line=4,title=VAL-4 c%3A undetermined",
    ]
    assert "is bad%0A  ::error::forged, 100%25%0A  ::set-env" in said[2]


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
