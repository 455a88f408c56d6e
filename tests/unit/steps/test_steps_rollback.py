"""What is compared after a rollback, and that no comparison is made of nothing."""

import hashlib
import shlex
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import apparmor, docker, machine_state
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.target import Target
from remediation import desired, phoenix
from remediation.engine.action import Drift
from remediation.engine.errors import ChangedSince
from steps import rollback as steps
from tests.doubles.canned import BOOTED, Answer, Host, Machine, Runtime
from tests.doubles.naming import lines_of, naming, not_compliant

DRIVER = "docker info -f '{{.Driver}}'"
CONTAINERS, IMAGES, VOLUMES = (
    shlex.join(docker.LISTS[kind].argv) for kind in ("container", "image", "volume")
)
HELD = {CONTAINERS: "former\n", IMAGES: "hello-world:latest\n", VOLUMES: ""}
HAD = "container former, image hello-world:latest"


def existing(
    answers: dict[str, Answer] | None = None,
    *,
    driver: str = "overlay2",
    held: str = HAD,
    running: tuple[str, ...] = ("lasting",),
) -> steps.Existing:
    return steps.Existing(951, Machine({}, answers or {}), driver, held, [*running], {"a": "1"})


@pytest.mark.parametrize(
    ("entries", "changes", "named"),
    [(["tunable"], True, "applied already"), ([], False, "applied already"), ([], True, "")],
)
def test_plan_is_applied_and_rolled_back_only_if_it_was_not_applied(
    entries: list[str], changes: bool, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    outcome, its = SimpleNamespace(changed=changes), SimpleNamespace(entries=lambda: entries)
    plan: Any = SimpleNamespace(journal=its)
    monkeypatch.setattr(steps, "apply", lambda _: done.append("apply") or [outcome])
    monkeypatch.setattr(steps, "roll_back", lambda _: done.append("roll_back") or [outcome])
    if named:
        with naming(FactError, named):
            steps.plan_is_applied_and_rolled_back(lambda: plan)
        assert "roll_back" not in done
    else:
        said = lines_of(steps.plan_is_applied_and_rolled_back, lambda: plan)
        assert (said, done) == (("1 actions applied and rolled back",), ["apply", "roll_back"])


_FILES = (phoenix.SETUP_SCRIPT, phoenix.INSTALL_SCRIPT, phoenix.PROFILE, phoenix.CONTAINERS)
SETUP, INSTALL, OWN, DESCRIBED = (f"{phoenix.REPOSITORY}/{path}" for path in _FILES)
LABEL, CONFIG = "/proc/7/attr/apparmor/current", "/etc/pve/lxc/951.conf"
KERNEL = shlex.join(apparmor.loaded_policy(desired.PROFILE).argv)
COMPILED = shlex.join(apparmor.compiled_policy(desired.PROFILE_PATH).argv)
#: The policy that the kernel has, by its hash: of the compiled text "policy".
POLICY = hashlib.sha256(b"policy").hexdigest()
APPLIED: dict[str, Any] = {
    desired.TUNABLE_PATH: desired.TUNABLE.decode(),
    desired.PROFILE_PATH: desired.profile().decode(),
    phoenix.REPOSITORY: "a directory",
    SETUP: f"echo '{desired.TUNABLE.decode().strip()}'",
    INSTALL: "if ! installed fuse-overlayfs; then",
    OWN: desired.profile().decode(),
    LABEL: f"{desired.PROFILE} (enforce)\n",
    DESCRIBED: f'{{"lxc_configs": {{"951": {{"apparmor_profile": "{desired.PROFILE}"}}}}}}',
    CONFIG: "features: nesting=1,keyctl=1,fuse=1\n",
    "/dev/fuse": "",
    desired.DAEMON_JSON: '{"storage-driver": "fuse-overlayfs"}',
}


def left_to_do(
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, str | None],
    packages: tuple[str, ...] = ("fuse-overlayfs",),
    programs: tuple[str, ...] = ("dockerd",),
    loaded: str = POLICY,
) -> None:
    files = APPLIED | changed
    host = Host(files, dict.fromkeys(packages, "1"), programs=programs)
    monkeypatch.setattr(steps.witness, "host", lambda _: host)
    kernel = (
        f"/sys/kernel/security/apparmor/policy/profiles/{desired.PROFILE}.7/raw_sha256:{loaded}"
    )
    asked: dict[str, Answer] = {KERNEL: f"{kernel}\n", COMPILED: "policy"}
    runtime = Runtime(Machine({path: files[path] for path in (LABEL, CONFIG)}, asked))
    monkeypatch.setattr(runtime, "init_pid", lambda _: 7)
    steps.nothing_left(runtime, Target("pve1", 950), existing())


@pytest.mark.parametrize("path", [path for path in APPLIED if path != phoenix.REPOSITORY])
def test_nothing_left_unlike_the_plan_is_red(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    left_to_do(monkeypatch, {})
    harmed = {
        LABEL: "docker-default (enforce)\n",
        CONFIG: "features: nesting=1,fuse=1\n",
        DESCRIBED: APPLIED[DESCRIBED].replace(desired.PROFILE, "another"),
    }
    with not_compliant("as the plan wants"):
        left_to_do(monkeypatch, {path: harmed.get(path)})


def test_nothing_left_without_a_package_is_red_and_without_phoenix_compliant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left_to_do(monkeypatch, dict.fromkeys((phoenix.REPOSITORY, SETUP, INSTALL, OWN, DESCRIBED)))
    left_to_do(monkeypatch, {DESCRIBED: '{"lxc_configs": {}}'})
    with not_compliant("the profile in the kernel"):
        left_to_do(monkeypatch, {}, loaded="0" * 64)
    with not_compliant("fuse-overlayfs"):
        left_to_do(monkeypatch, {}, packages=())
    with not_compliant("Docker"):
        left_to_do(monkeypatch, {}, programs=())


def test_docker_runs_on_another_driver_than_before_or_is_red() -> None:
    hello = "docker run --rm hello-world"

    def judge(now: Answer, ran: Answer = "", before: str = "overlay2") -> None:
        found = existing({DRIVER: now, hello: ran}, driver=before)
        steps.docker_runs_on(found, "fuse-overlayfs", "hello-world")

    judge("fuse-overlayfs\n")
    with not_compliant("overlay2"):
        judge("overlay2\n")
    with not_compliant("fuse-overlayfs"):
        judge("fuse-overlayfs\n", before="fuse-overlayfs")
    with not_compliant("125"):
        judge("fuse-overlayfs\n", (125, "", "x"))
    with pytest.raises(FactError):
        judge("\n")


def test_former_driver_where_docker_lost_something_is_red() -> None:
    good = {DRIVER: "overlay2\n"} | HELD
    steps.former_driver(existing(good))
    with not_compliant("vfs", "overlay2"):
        steps.former_driver(existing(good | {DRIVER: "vfs"}))
    gone = {IMAGES: ""}
    with not_compliant(f"had {HAD}", "has container former"):
        steps.former_driver(existing(good | gone))
    inactive: dict[str, Answer] = dict.fromkeys(HELD, (docker.NOT_RUNNING, "", ""))
    with not_compliant(f"had {HAD}", "nothing"):
        steps.former_driver(existing(good | inactive))
    with pytest.raises(FactError):
        steps.former_driver(existing(good, held=""))


def test_former_driver_images_listed_in_another_order_is_compliant() -> None:
    """Images of one second: Docker lists them in any order."""
    both = ("a/probe:1", "hello:1")
    held = docker.objects(existing(HELD | {IMAGES: "\n".join(both)}).inside)
    assert held == "container former, image a/probe:1, image hello:1"
    turned = {DRIVER: "overlay2\n"} | HELD | {IMAGES: "\n".join(reversed(both))}
    steps.former_driver(existing(turned, held=held))
    with not_compliant("has container former, image hello:1"):
        steps.former_driver(existing(turned | {IMAGES: "hello:1"}, held=held))


def test_they_run_again_where_one_does_not_is_red() -> None:
    running = "docker ps --format '{{.Names}}'"
    steps.they_run_again(existing({running: "lasting\n"}))
    with not_compliant("lasting"):
        steps.they_run_again(existing({running: ""}))
    with pytest.raises(CommandFailed):
        steps.they_run_again(existing({running: (1, "lasting", "no daemon")}))
    with pytest.raises(FactError):
        steps.they_run_again(existing(running=()))


def test_former_container_starts_where_it_does_not_is_red() -> None:
    start = "docker start -a former"
    steps.former_container_starts(existing({start: "Hello"}))
    with not_compliant("former"):
        steps.former_container_starts(existing({start: (1, "Hello", "no")}))


STOPPED: Answer = (3, "failed\n", "")
LOG = "journalctl -u docker -n 60 -o cat"
PRIOR = "error initializing graphdriver: a, b\n"
LOADED = f"{desired.PROFILE} (enforce)\n"


def letter(
    active: Answer = STOPPED, log: str = PRIOR, loaded: str | None = LOADED, code: int = 1
) -> None:
    found = existing({"systemctl is-active docker": active, LOG: log})
    node = Machine({"/sys/kernel/security/apparmor/profiles": loaded})
    restarted = Machine({}, {"restart": (code, "", "")}).run(["restart"])
    steps.letter_is_worse(found, Runtime(node), restarted)


def test_letter_is_worse_where_docker_starts_all_the_same_is_red() -> None:
    for said in ("prior storage driver", "several valid graphdrivers", "initializing graphdriver"):
        letter(log=f"Starting\nerror {said}: a, b\nExiting\n")
    with not_compliant("started"):
        letter(code=0)
    with not_compliant("runs"):
        letter(active="active\n")
    with not_compliant("two drivers"):
        letter(log="no space left on device\n")
    for loaded in (None, "docker-default (enforce)\n"):
        with not_compliant("profile"):
            letter(loaded=loaded)


def test_rolled_back_by_force_without_refusal_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[bool] = []

    def roll_back(_: object, *, force: bool = False) -> None:
        forced.append(force)
        if not force:
            raise ChangedSince({"daemon.json": Drift("is absent")})

    monkeypatch.setattr(steps, "roll_back", roll_back)
    steps.rolled_back_by_force(lambda: None)
    assert forced == [False, True]
    monkeypatch.setattr(steps, "roll_back", lambda _, **__: None)
    with not_compliant():
        steps.rolled_back_by_force(lambda: None)


def test_as_before_where_something_differs_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = existing({BOOTED: "running\nrunning\n"})
    may = {"process first": "7", "node: file /etc/mtab": "x"}
    monkeypatch.setattr(machine_state, "record_target", lambda runtime, ctid: {"a": "1"} | may)
    nobody: Any = None
    assert lines_of(steps.as_before, nobody, found) == (
        "1 facts compared, none differs: 1 a",
        f"not compared: {'; '.join(machine_state._TABLE.not_compared)}",
    )
    unseen = replace(found, recorded={"a": "1", "node: address not seen": "no ip"})
    monkeypatch.setattr(machine_state, "record_target", lambda runtime, ctid: unseen.recorded)
    assert "not seen: node: address: no ip" in lines_of(steps.as_before, nobody, unseen)
    now = {"a": "2", "b": "x"}
    monkeypatch.setattr(machine_state, "record_target", lambda runtime, ctid: now)
    with not_compliant("a: 1 -> 2", "b: absent -> x"):
        steps.as_before(nobody, found)
