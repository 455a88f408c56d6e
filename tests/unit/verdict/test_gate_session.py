"""What a whole run ends with when it is not the scenarios that decide."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.verdict.conftest import Toy


def test_gate_with_one_shared_cause_tells_it_once_and_first(toy: Toy) -> None:
    toy.compliant(*"abc")
    toy.conftest("""
@pytest.fixture(scope="session", autouse=True)
def target():
    raise errors.TransportError("cannot reach root@pve1: connection refused")
""")
    seen = toy.run()
    assert seen.ret == 3
    said = [line for line in seen.outlines if line]
    assert said == [
        "cannot reach root@pve1: connection refused",
        "3 scenarios undetermined: see above",
        "verdict: undetermined (3 undetermined)",
        "results: reports/allure-results",
    ]
    results = toy.results()
    assert sorted(each["name"] for each in results) == ["a", "b", "c"]
    assert {each["status"] for each in results} == {"broken"}
    assert {each["statusDetails"]["message"] for each in results} == {said[0]}


def test_gate_with_several_causes_tells_each_with_its_scenarios(toy: Toy) -> None:
    toy.conftest("""
@pytest.fixture(scope="session", params=["pve1", "pve2"])
def target(request):
    raise errors.TransportError(f"cannot reach root@{request.param}")
""")
    toy.compliant(*"ab")
    seen = toy.run()
    assert [" ".join(line.split()) for line in seen.outlines if line][:10] == [
        *("cannot reach root@pve1", "cannot reach root@pve2"),
        *(
            "target verdict clauses that are not compliant",
            "pve1 undetermined",
            "pve2 undetermined",
        ),
        *("pve1: 2 scenarios undetermined:", "cannot reach root@pve1"),
        *("pve2: 2 scenarios undetermined:", "cannot reach root@pve2"),
        "verdict: undetermined (4 undetermined)",
    ]


def test_gate_with_a_bad_target_is_a_usage_error_told_once(toy: Toy) -> None:
    toy.compliant(*"abc")
    toy.conftest("""
@pytest.fixture(scope="session", autouse=True)
def target():
    raise errors.UsageError("there is no container 999 on pve1")
""")
    seen = toy.run()
    assert seen.ret == 2
    seen.stdout.fnmatch_lines(["usage: there is no container 999 on pve1"])
    assert seen.stdout.str().count("no container 999") == 1


@pytest.mark.parametrize("args", [("-k", "nix"), ("-m", "mutates")])
def test_gate_with_nothing_selected_is_undetermined(toy: Toy, args: tuple[str, ...]) -> None:
    toy.feature("Then all is well")
    seen = toy.run(*args)
    assert seen.ret == 3
    seen.stdout.fnmatch_lines(
        [
            "asked: 0 of 1 scenario; not asked:",
            "  1: left out by the command line *",
            "undetermined: no scenario was run: nothing was judged",
        ]
    )
    assert re.findall(' errors="(.)"', (toy.path / "reports/junit.xml").read_text()) == [*"01"]


def test_gate_stopped_after_the_first_failure_is_incomplete_and_counts_the_rest(toy: Toy) -> None:
    toy.feature("Then an error in a Then", name="a")
    toy.compliant(*"bc")
    seen = toy.run("-x")
    assert seen.ret == 6
    seen.stdout.fnmatch_lines(
        [
            "2 scenarios have no result:",
            "  not run: stopped after 1 failure (-x, --maxfail)",
            "verdict: incomplete *",
        ]
    )
    for line in ("* b *", "*stopping*"):
        seen.stdout.no_fnmatch_line(line)
    said = [each["message"] for one in toy.results("globals") for each in one["errors"]]
    assert sorted(line.partition(":")[0] for line in said) == ["b", "c"]


@pytest.mark.parametrize("where", ["an interrupt", "a signal", "report"])
def test_gate_interrupted_says_so_and_what_did_not_run(toy: Toy, where: str) -> None:
    toy.feature("Then all is well", name="a")
    toy.apart = where == "a signal"
    if where != "report":
        toy.feature(f"Then {where} in a Then", name="b")
    else:  # where other plugins' wrappers are, too
        toy.feature("Then an error in a Then", name="b")
        toy.conftest("""
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item, call):
    if item.name == "test_b" and call.when == "call":
        raise KeyboardInterrupt
""")
    toy.compliant(*"cd")
    seen = toy.run()
    assert seen.ret == (143 if toy.apart else 130)
    if toy.apart:
        assert not Path("/proc", (toy.path / "started").read_text().strip()).exists()
    seen.stdout.fnmatch_lines(
        [
            "*! KeyboardInterrupt !*",
            "* a * compliant *",
            "* b * no result * interrupted while it ran",
            "b: no result*",
            "2 scenarios have no result:",
            "  interrupted before it ran",
            "verdict: interrupted (1 compliant, 3 no result)",
        ]
    )
    seen.stdout.no_fnmatch_line("* c *")
    assert len(seen.outlines) < 30
    assert not seen.errlines


@pytest.mark.laws
def test_gate_interrupted_while_it_makes_the_report_ends_with_130(toy: Toy) -> None:
    toy.apart = True
    toy.feature("Then all is well")
    toy.conftest("\ndef interrupted(*_): raise KeyboardInterrupt\nreport.publish = interrupted\n")
    seen = toy.run()
    assert (seen.ret, seen.errlines) == (130, ["interrupted"])
    seen.stdout.fnmatch_lines(["verdict: compliant (1 compliant)"])


def test_gate_with_a_file_that_cannot_be_read_is_incomplete(toy: Toy) -> None:
    toy.feature("Then all is well")
    (toy.path / "features" / "test_broken.py").write_text("import nix_da")
    seen = toy.run()
    assert seen.ret == 6
    seen.stdout.fnmatch_lines(["*nix_da*"])


@pytest.mark.parametrize("args", [("features/nix.feature",), ("-m", "a b"), ("-k", "(")])
def test_gate_with_a_bad_command_line_is_a_usage_error(toy: Toy, args: tuple[str, ...]) -> None:
    toy.feature("Then all is well")
    seen = toy.run(*args)
    assert seen.ret == 2
    seen.stderr.fnmatch_lines(["ERROR: *"])
    seen.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_gate_with_a_target_that_is_none_ends_the_collection(toy: Toy) -> None:
    toy.compliant(*"ab")
    toy.conftest("\ndef pytest_generate_tests(): raise errors.UsageError('no such target')\n")
    seen = toy.run()
    assert seen.ret == 2
    assert seen.errlines == ["ERROR: no such target"]
    assert not [line for line in seen.outlines if line]


@pytest.mark.parametrize("sink", ["/dev/full", ""], ids=["full", "broken pipe"])
def test_gate_ends_with_3_if_its_output_cannot_be_written_and_with_its_verdict_if_nobody_reads(
    toy: Toy, sink: str
) -> None:
    toy.feature("Then an assertion in a Then")
    reads, writes = os.pipe() if not sink else (os.open(sink, os.O_RDONLY), os.open(sink, 1))
    os.close(reads)
    argv = [sys.executable, "-m", "pytest", "--no-report"]
    seen = subprocess.run(argv, cwd=toy.path, stdout=writes, stderr=subprocess.PIPE, check=False)
    os.close(writes)
    assert (seen.returncode, seen.stderr.count(b"\n")) == ((3, 1) if sink else (1, 0))


@pytest.mark.parametrize("args", [("-n2",), ("--dist", "load", "--tx", "2*popen")])
def test_gate_with_workers_is_refused(toy: Toy, args: tuple[str, ...]) -> None:
    toy.apart = True
    toy.feature("Then all is well")
    seen = toy.run(*args)
    assert (seen.ret, seen.errlines) == (
        2,
        ["ERROR: the gate runs in one process: leave pytest-xdist's -n out"],
    )


@pytest.mark.laws
def test_terminal_has_colours_only_where_asked_for(toy: Toy) -> None:
    toy.feature("Then an assertion in a Then")
    assert "\x1b" not in toy.run().stdout.str()
    assert "\x1b[" in toy.run("--color=yes").stdout.str()


def test_what_a_scenario_left_is_let_go_before_the_next_one_begins(toy: Toy) -> None:
    """Else a fleet's run keeps it all until its end."""
    toy.compliant(*"abc")
    toy.conftest("""
import gc, weakref
LEFT, KEY = [], pytest.StashKey()

class Large:
    pass

def pytest_runtest_setup(item):
    gc.collect()
    assert not any(ref() for ref in LEFT)
    item.stash[KEY] = Large()
    LEFT.append(weakref.ref(item.stash[KEY]))
""")
    assert toy.run().ret == 0
