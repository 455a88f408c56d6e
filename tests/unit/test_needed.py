"""What is needed: which trials are made, and what they say. No lab is started here."""

import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from docker_lxc_gate.errors import FactError, LimitExceeded
from docker_lxc_gate.formats.apparmor_profile import profiles, statements
from docker_lxc_gate.machines.target import Target
from docs import __main__ as pages
from proof import needed
from proof.faults.fault import COMPLIANT, CTID, RED, UNDETERMINED
from proof.needed import DOCKER, HARMFUL, NEEDED, PROFILE, START, UNNEEDED, UNSURE
from remediation import desired
from tests.doubles.answering import Answer, Answering

CELL = "trixie/trixie"
CONF = "arch: amd64\nfeatures: nesting=1\nrootfs: local:1\nlxc.apparmor.profile: lxc-other\n"
SHIPPED = desired.content(desired.PROFILE)


class World:
    """A lab with a container.

    hello-world needs ``needs``. An attempt succeeds with ``lets``, and without ``holds``.
    ``breaks`` is called with what was written at each restart. ``did`` is what happened, in order.
    """

    def __init__(self, needs: Collection[str] = ("nesting=1",), lets: str = "unconfined") -> None:
        self.needs, self.lets, self.holds = needs, lets, ""
        self.files: dict[str, str] = {}
        self.made: list[str] = []
        self.did: list[str] = []
        self.trials = 0
        self.breaks: Callable[[str], None] = lambda _: None
        self.units: Answer = b"x.mount loaded failed failed X\n"
        self.node = Answering(self.answer)

    def answer(self, argv: list[str]) -> Answer:
        match argv:
            case ["tee", path]:
                self.files[path] = self.node.stdin.decode()
                return b""
            case ["lxc-attach", *_, "{{.Driver}}"]:
                return b"overlay2\n"
            case ["cat", _]:
                return CONF.encode()
            case ["bash", "-c", script, "fault", ctid]:
                assert ctid == str(CTID)
                self.did.append("restart" if "restart >&2" in script else "load")
                self.breaks(self.text)
                return self.units if self.did[-1] == "restart" else b""
        raise AssertionError(argv)

    @property
    def text(self) -> str:
        return "".join(self.files.values())

    def asked(self, names: Collection[str], *options: str) -> Any:
        self.did.append(" ".join(names) + " to the first" * ("--maxfail=1" in options))
        lacks = [each for each in self.needs if each not in self.text]
        red = {"hello": lacks[:1], "confinement": [self.lets] * (self.lets in self.text)}
        if self.holds not in self.text:
            red["confinement"].append(self.holds)

        def outcome(name: str) -> Any:
            cause = f"no {red[name][0]}\nmore" if red.get(name) else ""
            return SimpleNamespace(id=name, verdict=RED if cause else COMPLIANT, cause=cause)

        target = SimpleNamespace(versions={"Docker": "28"})
        return SimpleNamespace(targets=[target], scenarios=[outcome(name) for name in names])

    # The lab.
    def up(self, node: str, guests: list[str]) -> "World":
        self.did.append(f"up {node} {guests}")
        return self

    def snapshots(self) -> list[str]:
        return self.made

    def snapshot(self, name: str) -> None:
        self.made.append(name)

    def restore(self) -> None:
        self.did.append("ready")

    @contextmanager
    def restored(self, name: str) -> Iterator[Answering]:
        assert name == self.made[-1] or name in self.made
        self.trials += 1
        self.files.clear()
        yield self.node


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    runtime = SimpleNamespace()

    def create(_: object, ctid: int, argv: list[str], __: object) -> None:
        world.did.append(f"create {ctid} {argv[3].rpartition('/')[2]} {argv[-1]}")

    def planned(_: object, aim: Target, __: object) -> str:
        return str(aim.plan)

    monkeypatch.delenv("LAB_HOME", raising=False)
    for name, stand_in in {
        "Lab.open": lambda **_: world,
        "run.asked": world.asked,
        "options.opened": lambda _: nullcontext(runtime),
        "provision.create": create,
        "provision.boot_created": lambda *_: None,
        "provision.planned": planned,
    }.items():
        monkeypatch.setattr(f"proof.needed.{name}", stand_in)
    monkeypatch.setattr(needed, "apply", lambda plan: world.did.append(f"apply {plan}"))
    return world


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needed, "RESULTS", tmp_path / "needed.jsonl")


def ran(*words: str) -> Result:
    return CliRunner().invoke(needed.main, words)


def said(recipe: str, *without: str) -> tuple[str, str, str]:
    return needed.word(needed.read(), (CELL, recipe, frozenset(without)))


def test_a_trial_restores_changes_restarts_and_asks_until_it_is_red(world: World) -> None:
    done = ran("--recipe", "unconfined")
    assert done.exit_code == 0, done.output
    docker = f"{' '.join(DOCKER)} to the first"
    guards = "confinement restricted escape escape-docker escape-privileged"
    assert world.did == [
        "up trixie ['trixie']",
        *("ready", "create 950 debian-trixie-docker_amd64.tar.zst nesting=1", "apply plain"),
        *("restart", docker, guards),  # all lines
        *("restart", docker),  # without nesting, of which hello-world is red
        *("restart", docker, guards) * 3,
        *("restart", docker, guards),  # all three at once
    ]
    assert said("unconfined", "features: nesting=1") == (NEEDED, "hello", "no nesting=1")
    harmful = "lxc.apparmor.profile: unconfined"
    assert said("unconfined", harmful) == (HARMFUL, "confinement", "no unconfined")
    assert said("unconfined", "lxc.cap.drop:") == (UNNEEDED, "", "")
    stays = "unconfined, trixie/trixie: what must stay:\nfeatures: nesting=1\n"
    assert done.stdout.endswith(f"{stays}november-2025: not tried\nprofile: not tried\n")


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
    control: dict[str, tuple[str, str]],
    seen: dict[str, tuple[str, str]],
    expected: tuple[str, str, str],
) -> None:
    def trial(outcomes: dict[str, tuple[str, str]]) -> needed.Seen:
        return needed.Seen(CELL, "plain", (), outcomes, {}, "")

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


@pytest.mark.parametrize(
    "error", [FactError("the log is gone"), subprocess.TimeoutExpired("the log", 1800)]
)
def test_a_run_that_was_cut_off_goes_on_and_tries_again_what_it_could_not_tell(
    world: World, error: Exception
) -> None:
    def fails(text: str) -> None:
        if world.trials == 2:
            raise error
        if world.trials == 4:
            raise KeyboardInterrupt

    world.breaks = fails
    assert ran("--recipe", "unconfined").exit_code
    assert world.trials == 4
    with needed.RESULTS.open("ab") as file:
        file.write(b'\n{"cell": "tri')
    word, name, cause = said("unconfined", "features: nesting=1")
    assert (word, name) == (UNSURE, "trial")
    assert "the log" in cause
    world.breaks, world.trials = lambda _: None, 0
    assert ran("--recipe", "unconfined").exit_code == 0
    assert world.trials == 4  # nesting once more, two lines that were missing, and all at once
    assert said("unconfined", "features: nesting=1")[0] == NEEDED
    world.trials = 0
    assert ran("--recipe", "unconfined").exit_code == 0
    assert world.trials == 0


def test_a_recipe_that_does_not_work_is_not_taken_apart(world: World) -> None:
    world.needs = ("miracle",)
    done = ran("--recipe", "manual")
    assert world.trials == 1
    assert said("manual", "any")[:2] == (UNSURE, "hello")
    assert "features: nesting=1\nfeatures: keyctl=1\n" in done.stdout


def test_only_some_lines_are_tried_and_the_others_are_said(world: World) -> None:
    done = ran("--recipe", "manual", "--only", "keyctl")
    assert done.stdout.splitlines()[2:4] == [
        "features: nesting=1: not tried",
        "features: keyctl=1: not needed",
    ]
    assert world.trials == 2


def test_two_recipes_without_some_of_their_lines_may_be_one_trial(world: World) -> None:
    assert ran("--recipe", "plain").exit_code == 0
    assert world.trials == 2  # with nesting, and without
    done = ran("--recipe", "manual")
    assert world.trials == 4  # both features, and keyctl alone: nesting alone was the plan's
    assert done.stdout.count("features: nesting=1") == 1
    assert said("manual", "features: keyctl=1")[0] == UNNEEDED


def test_rules_of_which_none_is_needed_together_are_not_tried_alone(world: World) -> None:
    world.needs = ("hugetlbfs",)
    done = ran("--recipe", PROFILE, "--only", "^umount|^remount|fusectl")
    assert world.trials == 2  # all rules, and all but these three
    assert done.stdout.count(": not needed") == 3
    done = ran("--recipe", PROFILE, "--only", "^umount|^dbus|hugetlbfs")
    assert world.trials == 6  # the three, the last two, each of which is new; umount is known
    assert done.stdout.count(": not needed") == 2
    assert "/dev/hugepages/,: needed" in done.stdout


def test_deny_rule_is_not_unneeded_because_another_rule_was_missing_too() -> None:
    rules = needed.recipes()[PROFILE].lines
    deny = next(rule for rule in rules if "proc/kcore" in rule)
    also = next(rule for rule in rules if "acpi/**" in rule)
    seen = [((), FINE), ((deny, "umount,"), FINE), ((deny,), OPEN), ((also, deny), FINE)]
    known = {
        needed.there(CELL, PROFILE, without): needed.Seen(CELL, PROFILE, without, of, {}, "")
        for without, of in seen
    }

    def word(rule: str) -> str:
        return needed.word(known, (CELL, PROFILE, frozenset({rule})))[0]

    assert (word(deny), word(also), word("umount,")) == (NEEDED, UNNEEDED, UNNEEDED)
    del known[needed.there(CELL, PROFILE, (deny,))]
    assert word(deny) == UNNEEDED  # by the trial that lacks denials alone
    del known[needed.there(CELL, PROFILE, (also, deny))]
    with pytest.raises(KeyError):
        word(deny)


def test_a_rule_is_taken_from_the_profile_which_is_loaded(world: World) -> None:
    world.needs = ("pivot_root /var/lib/docker/tmp",)
    done = ran("--recipe", PROFILE, "--only", "pivot_root /var/lib/docker/tmp|^file,")
    assert done.exit_code == 0, done.output
    assert "file,: not needed" in done.stdout
    assert "docker-{builder,import}*/,: needed" in done.stdout
    assert world.did[3] == "apply docker-in-lxc"
    assert world.did[4:6] == ["load", "restart"]
    assert world.files.keys() == {desired.PROFILE_PATH}
    assert sum(each.startswith("confinement") for each in world.did) == 1  # of the whole profile


def test_confinement_is_asked_without_a_rule_that_denies_only(world: World) -> None:
    rule = next(rule for rule in needed.recipes()[PROFILE].lines if "sysrq-trigger rw" in rule)
    world.needs, world.holds = (), rule
    ran("--recipe", PROFILE, "--only", "sysrq-trigger rw|^umount")
    assert said(PROFILE, "umount,")[0] == UNNEEDED
    assert said(PROFILE, rule) == (NEEDED, "confinement", f"no {rule}")
    assert sum(each.startswith("confinement") for each in world.did) == 3  # once with all rules


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (None, "sync_wait: 34"),
        (LimitExceeded("lab", ["x"], "took too long", late=True), "has not booted within 300 s"),
    ],
)
def test_a_container_that_does_not_start_is_red_with_what_the_user_sees(
    world: World, error: Exception | None, cause: str
) -> None:
    def breaks(text: str) -> None:
        world.units = b""
        if "nesting" not in text:
            if error:
                raise error
            warned = b"explicitly configured lxc.apparmor.profile overrides the following: x\n"
            world.units = (1, b"", warned + b"sync_wait: 34\nstartup failed\n")

    world.breaks = breaks
    ran("--recipe", "plain")
    word, name, message = said("plain", "features: nesting=1")
    assert (word, name) == (NEEDED, START)
    assert message.endswith(cause)


def test_another_cell_needs_a_folder_of_its_own(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ran("--node", "unstable").exit_code == 2
    assert world.did == []
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "lab"))
    words = ("--node", "unstable", "--guest", "bookworm", "--recipe", "plain")
    assert ran(*words).exit_code == 0
    assert world.did[:3] == [
        "up unstable ['bookworm']",
        *("ready", "create 950 debian-bookworm-docker_amd64.tar.zst nesting=1"),
    ]
    assert {key[0] for key in needed.read()} == {"unstable/bookworm"}


def test_page_shows_each_line_and_the_smallest_configuration(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pages.needed() == "Not run yet."
    ran("--recipe", "plain", "--recipe", "unconfined", "--recipe", "manual")
    world.needs = ()
    ran("--recipe", PROFILE, "--only", "^file,")
    page = pages.needed()
    for row in (
        "| plain | `features: nesting=1` | needed: hello: no nesting=1 |",
        "| unconfined | `lxc.apparmor.profile: unconfined` | harmful: confinement: no unconfined |",
        "| manual | `features: keyctl=1` | not needed |",
        "| docker-in-lxc | `features: fuse=1` | not tried |",
        f"| not tried | {len(needed.recipes()[PROFILE].lines) - 1} |",
    ):
        assert row in page.splitlines()
    assert "Docker 28, runc ?, driver overlay2):\n\n```text\nfeatures: nesting=1\n```" in page
    assert "`docker-in-lxc` on trixie/trixie: not all was tried." in page
