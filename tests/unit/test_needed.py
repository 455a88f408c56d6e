"""What is needed: what trials say of lines and rules. None is made here."""

from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from docker_lxc_gate.errors import FactError, LimitExceeded
from docker_lxc_gate.formats.apparmor_profile import profiles, statements
from docs import __main__ as pages
from proof import needed
from proof.faults.fault import COMPLIANT, RED, UNDETERMINED
from proof.needed import DOCKER, HARMFUL, NEEDED, PROFILE, START, UNNEEDED, UNSURE
from remediation import desired
from tests.doubles.answering import Answering

CELL = "trixie/trixie"
CONF = "arch: amd64\nfeatures: nesting=1\nrootfs: local:1\nlxc.apparmor.profile: lxc-other\n"
SHIPPED = desired.profile().decode()


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needed, "RESULTS", tmp_path / "needed.jsonl")


def test_a_container_gets_the_lines_of_the_recipe_and_no_others() -> None:
    lines = ["features: nesting=1", "features: fuse=1", "lxc.cap.drop:"]
    written = "arch: amd64\nrootfs: local:1\nfeatures: nesting=1,fuse=1\nlxc.cap.drop:\n"
    assert needed.configured(CONF, lines) == written
    assert needed.configured(CONF, []) == "arch: amd64\nrootfs: local:1\n"


def test_each_rule_of_the_shipped_profile_can_be_taken_away_alone_and_all_together() -> None:
    rules = needed.recipes()[PROFILE].lines
    assert len(rules) == len(set(rules)) == len(profiles(SHIPPED)[0].rules)
    for rule in rules:
        left = [str(each) for each in statements(needed.without_rules(SHIPPED, [rule]))]
        assert sorted([*left, rule]) == sorted(map(str, statements(SHIPPED)))
    bare = needed.without_rules(SHIPPED, rules)
    assert not profiles(bare)[0].rules
    assert bare.count("#") == SHIPPED.count("#")  # comments stay


Outcomes = dict[str, tuple[str, str]]


def trial(outcomes: Outcomes, recipe: str = "plain", *without: str) -> needed.Seen:
    return needed.Seen(CELL, recipe, without, outcomes, {"Docker": "28"}, "")


FINE = dict.fromkeys([START, *DOCKER, "confinement"], (COMPLIANT, ""))
OPEN = FINE | {"confinement": (RED, "it may")}


@pytest.mark.parametrize(
    ("control", "seen", "expected"),
    [
        (FINE, FINE, (UNNEEDED, "", "")),
        (FINE, FINE | {"image": (RED, "no")}, (NEEDED, "image", "no")),
        (FINE, {START: (RED, "no boot")}, (NEEDED, START, "no boot")),
        (FINE, OPEN, (NEEDED, "confinement", "it may")),
        (OPEN, FINE, (HARMFUL, "confinement", "it may")),
        (OPEN, OPEN, (UNNEEDED, "", "")),
        (OPEN, FINE | {"hello": (RED, "no")}, (NEEDED, "hello", "no")),
        (
            FINE,
            FINE | {START: (COMPLIANT, "a.mount b.mount")},
            (NEEDED, START, "failed: a.mount, b.mount"),
        ),
        (FINE | {START: (COMPLIANT, "a.mount")}, FINE, (UNNEEDED, "", "")),
        (*[FINE | {START: (COMPLIANT, "a.mount")}] * 2, (UNNEEDED, "", "")),
        (
            FINE,
            {START: (COMPLIANT, "a.mount"), "units": (RED, "why a failed")},
            (NEEDED, "units", "why a failed"),
        ),
        (FINE, FINE | {"volume": (UNDETERMINED, "?")}, (UNSURE, "volume", "?")),
        (FINE, {"trial": (UNDETERMINED, "the lab is gone")}, (UNSURE, "trial", "the lab is gone")),
        (FINE, {START: (COMPLIANT, "")}, (UNSURE, "units", "it was not judged")),
        (
            FINE | {"confinement": (UNDETERMINED, "?")},
            FINE,
            (UNSURE, "confinement", "?"),
        ),
        (FINE | {"hello": (RED, "no")}, FINE, (UNSURE, "hello", "with all lines, too: no")),
        (
            {"trial": (UNDETERMINED, "?")},
            FINE,
            (UNSURE, START, "with all lines, too: it was not judged"),
        ),
    ],
)
def test_word_follows_from_the_verdicts_with_and_without_a_line(
    control: Outcomes, seen: Outcomes, expected: tuple[str, str, str]
) -> None:
    assert needed.compared(trial(control), trial(seen)) == expected


@pytest.mark.parametrize(
    ("works", "stays", "last"),
    [
        ("abc -a -b -ab", "c", "ab"),  # at once
        ("abc -a -b -c -ab -ac -bc", "c", "abc"),  # one by one: all three are too many
        ("abc -a -b", "bc", "ab"),
        ("abc", "abc", ""),
    ],
)
def test_smallest_takes_all_away_at_once_or_one_by_one(works: str, stays: str, last: str) -> None:
    asked: list[str] = []

    def word(without: Collection[str]) -> str:
        asked.append("".join(without))
        return UNNEEDED if f"-{asked[-1]}" in {"-", *works.split()} else NEEDED

    assert "".join(needed.smallest("abc", word)) == stays
    assert asked[:3] == ["a", "b", "c"]
    assert not last or last in asked[3:]


def test_deny_rule_is_not_unneeded_because_another_rule_was_missing_too() -> None:
    rules = needed.recipes()[PROFILE].lines
    deny = next(rule for rule in rules if "proc/kcore" in rule)
    also = next(rule for rule in rules if "acpi/**" in rule)
    fine = [trial(FINE, PROFILE, *without) for without in ((), (deny, "umount,"), (also, deny))]
    known = {
        needed.there(CELL, PROFILE, each.without): each
        for each in (*fine, trial(OPEN, PROFILE, deny))
    }

    def word(rule: str) -> str:
        return needed.word(known, (CELL, PROFILE, frozenset({rule})))[0]

    assert (word(deny), word(also), word("umount,")) == (NEEDED, UNNEEDED, UNNEEDED)
    del known[needed.there(CELL, PROFILE, (deny,))]
    assert word(deny) == UNNEEDED  # by the trial that lacks denials alone
    del known[needed.there(CELL, PROFILE, (also, deny))]
    with pytest.raises(KeyError):
        word(deny)


def test_restart_that_fails_is_red_with_what_the_user_sees() -> None:
    warned = b"explicitly configured lxc.apparmor.profile overrides the following: x\n"
    fails = Answering(lambda _: (1, b"", warned + b"sync_wait: 34\nstartup failed\n"))
    assert needed.restarted(fails) == (RED, "sync_wait: 34\nstartup failed")
    assert needed.restarted(Answering(lambda _: b"x.mount loaded\n")) == (COMPLIANT, "x.mount")

    def hangs(_: object) -> bytes:
        raise LimitExceeded("lab", ["x"], "took too long", late=True)

    assert needed.restarted(Answering(hangs))[1].endswith("has not booted within 300 s")


def test_another_cell_needs_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_HOME", raising=False)
    monkeypatch.setattr(needed.Lab, "open", None)
    done = CliRunner().invoke(needed.main, ["--node", "unstable"])
    assert (done.exit_code, "LAB_HOME" in done.output) == (2, True)


def test_page_shows_each_line_and_the_smallest_configuration() -> None:
    assert pages.needed() == "Not run yet."
    lacks = FINE | {"hello": (RED, "no nesting")}
    # Without keyctl, "manual" is the trial of the plan.
    for seen in (trial(FINE), trial(lacks, "plain", "features: nesting=1"), trial(FINE, "manual")):
        with needed.RESULTS.open("ab") as file:
            file.write(msgspec.json.encode(seen) + b'\n{"cell": "cut o\n')
    page = pages.needed()
    for row in (
        "| plain | `features: nesting=1` | needed: hello: no nesting |",
        "| manual | `features: keyctl=1` | not needed |",
        "| docker-in-lxc | `features: fuse=1` | not tried |",
        f"| not tried | {len(needed.recipes()[PROFILE].lines)} |",
    ):
        assert row in page.splitlines()
    assert "Docker 28, runc ?, driver ?):\n\n```text\nfeatures: nesting=1\n```" in page
    assert "`docker-in-lxc` on trixie/trixie: not all was tried." in page


def test_a_trial_writes_the_lines_and_is_made_again_if_it_could_not_be_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written, errors = [""], [FactError("no answer")]

    def answer(argv: list[str]) -> bytes:
        if argv[0] == "tee":
            written.append(node.stdin.decode())
        return CONF.encode() if argv[0] == "cat" else b""

    def asked(names: Collection[str], *_: str) -> Any:
        if errors:
            raise errors.pop()
        lacks = "nesting=1" not in written[-1]
        judged = [(name, RED if lacks and name == "hello" else COMPLIANT) for name in names]
        scenarios = [
            SimpleNamespace(id=name, verdict=verdict, cause="") for name, verdict in judged
        ]
        return SimpleNamespace(targets=[SimpleNamespace(versions={})], scenarios=scenarios)

    node, lab = Answering(answer), SimpleNamespace(restored=lambda _: nullcontext(node))
    lab.up = lambda *_: lab
    monkeypatch.setattr("proof.needed.Lab.open", lambda **_: lab)
    monkeypatch.setattr("proof.needed.run.asked", asked)
    monkeypatch.setattr(needed, "_made", lambda *_: "snapshot")
    for word in ("could not tell", "needed: hello"):
        done = CliRunner().invoke(needed.main, ["--recipe", "plain"])
        assert f"without features: nesting=1: {word}" in done.output
    assert written[2:] == [needed.configured(CONF, each) for each in (["features: nesting=1"], [])]
