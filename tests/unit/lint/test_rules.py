"""Each rule finds its bad file and is quiet about the good twin: ``tests/data/lint/RULE``."""

from collections import Counter
from pathlib import Path

import pytest

from docker_lxc_gate.lint import discover
from docker_lxc_gate.lint.check import MOST, check, few
from docker_lxc_gate.lint.finding import PROBLEMS, Kind, Severity, Source
from docker_lxc_gate.lint.rules.parser import Parser
from docker_lxc_gate.machines.transport import Local

DATA = Path(__file__).parents[2] / "data/lint"
#: A file that is too large, or that nobody may read, is made where it is tested: test_discover.py.
#: What is said only if it is asked for: test_container_rules.py.
ELSEWHERE = {"file-unreadable", "container-line-unneeded"}
IDS = [name for name in PROBLEMS if name not in ELSEWHERE]
#: Programs and people's suppressions know these ids: none is renamed. A new rule is added here once
#: it is released.
RELEASED = (DATA.parent / "released_rules.txt").read_text().split()


def found(path: Path) -> list[str]:
    """The ids of what is found in a directory, by all rules and by apparmor_parser."""
    under = discover.under(path)
    assert under.findings == []
    return [each.id for each in check(under.sources, Parser(Local()))]


@pytest.mark.parametrize("rule", IDS)
def test_rule_finds_its_bad_file_alone_and_nothing_in_the_good_twin(rule: str) -> None:
    assert set(found(DATA / rule / "bad")) == {rule}
    assert found(DATA / rule / "good") == []


def test_every_rule_has_files_and_all_files_are_a_rules() -> None:
    assert sorted(path.name for path in DATA.iterdir()) == sorted(IDS)


def test_released_id_is_still_a_rules() -> None:
    assert set(RELEASED) <= PROBLEMS.keys()
    assert len(RELEASED) >= 40


def test_problem_of_thousands_of_lines_is_told_of_the_first_ones_and_counted() -> None:
    """Each finding is masked and printed: a stranger's megabyte may hold half a million."""
    lines = b"rootfs: local:950,size=8G\nostype: debian\narch: amd64\n" + b"a\n" * 30_000
    sources = [Source(f"{ctid}.conf", lines, Kind.CONTAINER) for ctid in (950, 951)]
    many = list(few(check(sources)))
    told = Counter((each.path, each.id) for each in many)
    assert set(told.values()) <= {1, MOST}
    advices = "".join(f"mp{n}: local:{n},mp=/m{n},zzqqxx=1\n" for n in range(200)).encode()
    wrong = Source("950.conf", advices + b"mp200: local:200,mp=/m,backup=maybe\n", Kind.CONTAINER)
    assert any(each.severity is Severity.ERROR and each.line == 201 for each in few(check([wrong])))
    last = next(each for each in many if each.path == "951.conf" and each.line == 3 + MOST)
    assert last.cause.endswith(f"; the same in {30_000 - MOST} more places")
