"""What is compared after a rollback, and that no comparison is made of nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from facts import machine_state
from gate import evidence
from remediation import desired
from remediation.actions.storage_driver import docker_holds
from remediation.rehearsal import Stage
from steps import rollback as steps
from targets.drift import Drift
from targets.errors import ChangedSince, CommandFailed, FactError
from targets.target import DEFAULT, parse
from tests.doubles.canned import BOOTED, Answer, Machine, Runtime

if TYPE_CHECKING:
    from collections.abc import Callable

DRIVER = "docker info -f '{{.Driver}}'"
HELD = {
    "systemctl is-active -q docker": "",
    "docker ps -a --format '{{.Names}}'": "former\n",
    "docker images --format '{{.Repository}}:{{.Tag}}'": "hello-world:latest\n",
    "docker volume ls -q": "",
}
HAD = "container former, image hello-world:latest"


def existing(
    answers: dict[str, Answer] | None = None,
    *,
    driver: str = "overlay2",
    held: str = HAD,
    running: tuple[str, ...] = ("lasting",),
) -> steps.Existing:
    return steps.Existing(951, Machine({}, answers or {}), driver, held, [*running], {"a": "1"})


def test_the_labs_container_is_the_one_that_is_thrown_away() -> None:
    assert parse(DEFAULT).reserved[0] == steps.CTID
    assert steps.CREATE[:3] == ["pct", "create", str(steps.CTID)]
    assert steps.CREATE[-2:] == ["--features", "nesting=1"]


def stage(name: str, *differences: str) -> Stage:
    return Stage(name, 1.0, "", differences)


def test_nothing_differed() -> None:
    steps.nothing_differed([stage("before"), stage("compare"), stage("apply again")])
    with pytest.raises(AssertionError, match=r"2 thing\(s\) differ: a: 1 -> 2; b: 1 -> absent"):
        steps.nothing_differed([stage("compare", "a: 1 -> 2", "b: 1 -> absent")])
    for stages in ([], [stage("before"), stage("apply")]):
        with pytest.raises(FactError, match="ended before it compared anything"):
            steps.nothing_differed(stages)


def plan(*drifts: Drift | None, **more: Any) -> Callable[[], Any]:
    found = SimpleNamespace(drifts=lambda: [(None, drift) for drift in drifts], **more)
    return lambda: found


def test_nothing_is_left() -> None:
    steps.nothing_left(plan(None, None))
    with pytest.raises(AssertionError, match="and still: the tunable is absent"):
        steps.nothing_left(plan(None, Drift("the tunable is absent")))
    with pytest.raises(FactError, match="the plan has no action"):
        steps.nothing_left(plan())


def test_the_plan_by_its_effect() -> None:
    hello = "docker run --rm hello-world"

    def judge(now: Answer, ran: Answer = "", before: str = "overlay2") -> None:
        found = existing({DRIVER: now, hello: ran}, driver=before)
        steps.docker_runs_on(found, "fuse-overlayfs", "hello-world")

    judge("fuse-overlayfs\n")
    with pytest.raises(AssertionError, match="after the plan Docker runs on overlay2"):
        judge("overlay2\n")
    with pytest.raises(AssertionError, match="it was on fuse-overlayfs before the plan"):
        judge("fuse-overlayfs\n", before="fuse-overlayfs")
    with pytest.raises(AssertionError, match="hello-world ends with 125"):
        judge("fuse-overlayfs\n", (125, "", "x"))
    with pytest.raises(FactError, match="names no storage driver"):
        judge("\n")
    with pytest.raises(CommandFailed, match="daemon"):
        judge((1, "fuse-overlayfs", "daemon"))


def test_the_former_driver() -> None:
    good = {DRIVER: "overlay2\n"} | HELD
    steps.former_driver(existing(good))
    with pytest.raises(AssertionError, match="Docker runs on vfs, not on overlay2 as before"):
        steps.former_driver(existing(good | {DRIVER: "vfs"}))
    gone = {"docker images --format '{{.Repository}}:{{.Tag}}'": ""}
    with pytest.raises(AssertionError, match=f"Docker had {HAD}, and has container former$"):
        steps.former_driver(existing(good | gone))
    inactive: dict[str, Answer] = {"systemctl is-active -q docker": (3, "", "")}
    with pytest.raises(AssertionError, match="and has nothing"):
        steps.former_driver(existing(good | inactive))
    with pytest.raises(FactError, match="Docker held nothing before"):
        steps.former_driver(existing(good, held=""))


def test_former_driver_images_listed_in_another_order_is_compliant() -> None:
    """Images of one second: Docker lists them in any order."""
    images, both = "docker images --format '{{.Repository}}:{{.Tag}}'", ("a/probe:1", "hello:1")
    held = docker_holds(existing(HELD | {images: "\n".join(both)}).inside)
    assert held == "container former, image a/probe:1, image hello:1"
    turned = {DRIVER: "overlay2\n"} | HELD | {images: "\n".join(reversed(both))}
    steps.former_driver(existing(turned, held=held))
    with pytest.raises(AssertionError, match=r"and has container former, image hello:1$"):
        steps.former_driver(existing(turned | {images: "hello:1"}, held=held))


def test_what_ran_runs_again() -> None:
    running = "docker ps --format '{{.Names}}'"
    steps.they_run_again(existing({running: "lasting\n"}))
    with pytest.raises(AssertionError, match=r"\['lasting'\] ran, and now none"):
        steps.they_run_again(existing({running: ""}))
    with pytest.raises(CommandFailed):
        steps.they_run_again(existing({running: (1, "lasting", "no daemon")}))
    with pytest.raises(FactError, match="no Docker container ran before"):
        steps.they_run_again(existing(running=()))


def test_the_former_container() -> None:
    start = "docker start -a former"
    steps.former_container_starts(existing({start: "Hello"}))
    with pytest.raises(AssertionError, match="the former container does not start"):
        steps.former_container_starts(existing({start: (1, "Hello", "no")}))


STOPPED: Answer = (3, "failed\n", "")
LOG = "journalctl -u docker -n 60 -o cat"
PRIOR = 'error initializing graphdriver: "/var/lib/docker" contains several valid graphdrivers'
LOADED = f"{desired.PROFILE} (enforce)\n"


def letter(
    active: Answer = STOPPED,
    log: str = f"Starting\n{PRIOR}\n",
    loaded: str | None = LOADED,
    code: int = 1,
) -> None:
    found = existing({"systemctl is-active docker": active, LOG: log})
    node = Machine({"/sys/kernel/security/apparmor/profiles": loaded})
    restarted = Machine({}, {"restart": (code, "", "")}).run(["restart"])
    steps.letter_is_worse(found, Runtime(node), restarted)


@pytest.mark.parametrize(
    "said",
    [
        "prior storage driver vfs failed",
        "several valid graphdrivers: a, b",
        "error initializing graphdriver: x",
    ],
)
def test_the_letter_of_the_plan_is_worse(said: str) -> None:
    letter(log=f"Starting\n{said}\nExiting\n")
    with pytest.raises(AssertionError, match="Docker started after the letter"):
        letter(code=0)
    with pytest.raises(AssertionError, match="Docker runs after the letter"):
        letter(active="active\n")
    with pytest.raises(AssertionError, match="not because of the layers of two drivers"):
        letter(log="no space left on device\n")
    for loaded in (None, "docker-default (enforce)\n"):
        with pytest.raises(AssertionError, match="the profile left the kernel by itself"):
            letter(loaded=loaded)


def test_what_the_letter_says() -> None:
    removed = f"rm {desired.DAEMON_JSON}"
    purged = "env DEBIAN_FRONTEND=noninteractive apt-get purge -y fuse-overlayfs"
    good: dict[str, Answer] = {removed: "", purged: "", "systemctl restart docker": (1, "", "")}
    assert not steps.letter_of_the_plan(existing(good)).ok
    for line in (removed, purged):
        with pytest.raises(CommandFailed, match="it is held"):
            steps.letter_of_the_plan(existing(good | {line: (1, "", "it is held")}))


def test_what_was_changed_by_hand_is_refused_first() -> None:
    forced: list[bool] = []

    def rollback(*, force: bool = False) -> None:
        forced.append(force)
        if not force:
            raise ChangedSince({"daemon.json": Drift("is absent")})

    steps.taken_back_by_force(plan(rollback=rollback))
    assert forced == [False, True]
    with pytest.raises(AssertionError, match="without refusing first"):
        steps.taken_back_by_force(plan(rollback=lambda **_: None))


def test_a_part_is_applied_and_rolled_back() -> None:
    changed, same = SimpleNamespace(changed=True), SimpleNamespace(changed=False)
    chosen: list[list[str]] = []

    def part(applied: list[Any], back: list[Any]) -> Callable[[], Any]:
        one = SimpleNamespace(apply=lambda: applied, rollback=lambda: back)
        return lambda: SimpleNamespace(only=lambda ids: chosen.append(ids) or one)

    evidence.drain()
    steps.part_is_applied_and_rolled_back(part([same, changed], [changed, same, changed]), "STEP-1")
    assert evidence.drain().lines == ("2 actions applied and rolled back",)
    assert chosen == [["STEP-1"]]
    with pytest.raises(FactError, match="STEP-1 is applied on this node already"):
        steps.part_is_applied_and_rolled_back(part([same, same], []), "STEP-1")


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"a": "2"}, r"1 thing\(s\) are not as before: a: 1 -> 2"),
        ({"a": "1", "b": "x"}, "b: absent"),
    ],
)
def test_as_before(now: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = existing({BOOTED: "running\nrunning\n"})
    may = {"process first": "7", "node: file /etc/mtab": "x"}
    monkeypatch.setattr(machine_state, "both", lambda runtime, ctid: {"a": "1"} | may)
    nobody: Any = None
    steps.as_before(nobody, found)
    monkeypatch.setattr(machine_state, "both", lambda runtime, ctid: now)
    with pytest.raises(AssertionError, match=message):
        steps.as_before(nobody, found)
