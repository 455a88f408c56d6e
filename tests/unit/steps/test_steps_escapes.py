"""Attempts to break out: where they are made, what is red, and what the verdict says of them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit.audit_window import Unwatched
from docker_lxc_gate.facts.escapes import ATTEMPTS
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.machines.transport import Transport
from steps import escapes as steps
from steps.escapes import Attempted
from tests.doubles.answering import Answer, Answering
from tests.doubles.apparmor.denials import denial
from tests.doubles.naming import lines_of, naming, not_compliant

LOOKS = [name for name, attempt in ATTEMPTS.items() if attempt.looks]
BIND = 'operation="mount" name="/proc/tty/" comm="gate-bind" srcname="/proc/" flags="rw, rbind"'
#: How attempts end that do not end as most do: on the node, in the container, and there without
#: AppArmor and seccomp.
NODE = {"uevent": 2, "neighbour": 200}
GUEST = {"bind": 13, "userns": 0}
BARE = {"bind": 0, "handle": 0, "userns": 0}


def ends(argv: Sequence[str], most: int, **others: int) -> bytes:
    """Answer as the program does, of the attempts that are asked for."""
    names = argv[argv.index("--", argv.index("-e")) + 3].split(",")
    codes = {name: others.get(name, most) for name in names}
    return "".join(f"{name} {code} 0\n" for name, code in codes.items()).encode()


class Places(Pct):
    """A node with a container, and what ran in which place."""

    def __init__(self, **answers: Answer) -> None:
        self.answers, self.ran = answers, list[list[str]]()
        super().__init__(Answering(self.on_node, "pve1"))

    def inside(self, ctid: int, *options: str) -> Transport:
        return Answering(lambda argv: self.in_guest(argv, bare=bool(options)), "container 950")

    def init_pid(self, ctid: int) -> int:
        return 7

    def on_node(self, argv: list[str]) -> Answer:
        if argv == ["uname", "-m"]:
            return b"x86_64\n"
        if argv[0] != "perl":
            return self.answers.get("label", b"lxc-phoenix-v2 (enforce)")
        if "control" not in argv:
            return b"node=1:1\n"
        assert "x86_64" in argv  # whatever the container says of itself
        return ends(argv, 0, **NODE)

    def in_guest(self, argv: list[str], *, bare: bool) -> Answer:
        if argv == ["uname", "-m"]:
            return b"aarch64\n"
        assert "aarch64" in argv
        self.ran.append([*argv[:2], "bare" * bare])
        answer = ends(argv, 1, **(BARE if bare else GUEST))
        return self.answers.get("bare" if bare else argv[0], answer)


class Window:
    """A window with one denial; after it the log was cut."""

    cut = False

    def __init__(self, *_: object) -> None: ...

    def close(self) -> list[Any]:
        if self.cut:
            raise Unwatched("it was cut", [denial(BIND)])
        return [denial(BIND)]

    def end(self) -> None: ...


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Window]]:
    monkeypatch.setattr(steps, "Window", Window)
    monkeypatch.setattr(steps, "subject", lambda *_: None)
    yield Window
    Window.cut = False


def attempted(places: Places, *, is_lab: bool, plan: str = "docker-in-lxc") -> Attempted:
    made = steps.of_container.__wrapped__  # type: ignore[attr-defined]
    target = Target("lab" if is_lab else "pve1", 950, plan=plan)
    return steps.container_attempts(made(places, 950, target, places.inside(950)))


def test_users_container_is_only_looked_at_and_its_node_is_left_as_it_is() -> None:
    places = Places()
    tried = attempted(places, is_lab=False)
    assert [*tried.ends] == LOOKS
    assert places.ran == [["perl", "-e", ""]]
    assert tried.who["disk"] == ""


def test_lab_tries_all_also_without_apparmor_and_says_who_refused() -> None:
    places = Places()
    tried = attempted(places, is_lab=True)
    assert [*tried.ends] == [*ATTEMPTS]
    assert places.ran == [["perl", "-e", ""], ["perl", "-e", "bare"]]
    assert tried.who["disk"] == "the user namespace"
    assert tried.who["handle"] == "seccomp"
    rule = "mount options=(rw,rbind) /proc/ -> /proc/tty/,"
    assert tried.who["bind"] == f"AppArmor (mount /proc/tty/; to allow it: {rule})"


def test_end_that_is_no_refusal_is_undetermined() -> None:
    tried = attempted(Places(), is_lab=True)
    with naming(FactError, "read the node's disk", "ENOSPC"):
        judge(replace(tried, ends={"disk": "ENOSPC", "userns": "ENOSPC"}))
    assert judge(replace(tried, ends={"disk": "EPERM", "userns": "ENOSPC"}))
    with not_compliant("read the node's memory"):  # whatever else is unclear
        judge(replace(tried, ends={"disk": "ENOSPC", "kcore": ""}))


def test_log_that_was_cut_and_quiet_denies_of_a_generated_profile_prove_no_refusal_of_seccomp(
    watched: type[Window],
) -> None:
    assert attempted(Places(), is_lab=True, plan="plain").who["handle"] == "AppArmor or seccomp"
    watched.cut = True
    tried = attempted(Places(), is_lab=True)
    assert tried.who["handle"] == "AppArmor or seccomp"
    assert tried.who["bind"].startswith("AppArmor (mount")


def test_container_without_perl_is_undetermined() -> None:
    with naming(FactError, "no perl", "container 950"):
        attempted(Places(perl=(127, b"", b"no such file")), is_lab=True)


MADE = CommandResult(("docker",), 0, b"", b"", "container 950", 0.0, 0.0)
PVE1: Any = SimpleNamespace(machine="pve1")


def judge(tried: Attempted, plan: str = "docker-in-lxc") -> tuple[str, ...]:
    return lines_of(steps.what_must_be_is_refused, tried, Target("pve1", 950, plan=plan), PVE1)


def of(kind: str, places: Places) -> Attempted:
    of_container = attempted(places, is_lab=True)
    return steps.docker_container_attempts(of_container, places.inside(950), MADE, kind)


@pytest.mark.parametrize("kind", ["plain", "privileged"])
def test_docker_container_is_started_as_it_is_named_and_the_rest_is_dockers(kind: str) -> None:
    places = Places()
    tried = of(kind, places)
    assert tried.who["disk"] == "the user namespace"
    assert tried.who["userns"].startswith("Docker")
    assert tried.where == f"a {kind} Docker container in container 950"


def test_docker_container_that_cannot_be_started_is_undetermined() -> None:
    for code in (125, 126, 127):
        with naming(FactError, "plain Docker container", "no space left"):
            of("plain", Places(docker=(code, b"", b"no space left")))
    unmade = CommandResult(("docker",), 1, b"", b"fuse: device not found", "", 0.0, 0.0)
    places = Places()
    with naming(FactError, "privileged Docker container", "/dev/fuse"):
        steps.docker_container_attempts(
            attempted(places, is_lab=False), places.inside(950), unmade, "privileged"
        )


def test_refused_attempts_are_told_by_who_refused_and_useless_ones_with_the_reason() -> None:
    first, *lines = judge(attempted(Places(), is_lab=True))
    assert first.startswith(f"{len(ATTEMPTS) - 3} attempts refused to container 950")
    told = "\n".join(lines)
    assert "refused by seccomp: handle" in told
    assert "possible (docs/confinement.md): userns" in told
    assert "nothing on the node to try it on: neighbour" in told
    assert "cannot do it either: uevent (ENOENT)" in told


def with_success(*names: str, label: bytes = b"lxc-own (enforce)") -> Attempted:
    places = Places(label=label)
    answer = "".join(f"{name} {0 if name in names else 1} 0\n" for name in LOOKS)
    places.answers["perl"] = answer.encode()
    return attempted(places, is_lab=False)


def test_attempt_that_succeeds_and_must_not_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "why_wide", lambda *_: "")
    with not_compliant("container 950: its root may read the node's memory", "LXC", "kcore"):
        judge(with_success("kcore"))
    with not_compliant("list the node's firmware", "the profile must", "kcore"):
        judge(with_success("firmware", "kcore"))


def test_attempt_that_the_shipped_profile_alone_refuses_is_told_under_another_plan() -> None:
    assert "possible (lxc-phoenix-v2 refuses it): firmware" in judge(
        with_success("firmware"), "plain"
    )
    with not_compliant("may read the node's memory"):
        judge(with_success("firmware", "kcore"), "plain")


def test_profile_is_left_only_in_a_namespace_of_profiles_of_the_containers_own() -> None:
    own = b"lxc-950_</var/lib/lxc>//&:lxc-950_<-var-lib-lxc>:unconfined"
    assert "possible (lxc-phoenix-v2 refuses it): unconfined" in judge(
        with_success("unconfined", label=own), "plain"
    )
    with not_compliant("change to the profile unconfined"):
        judge(with_success("unconfined"), "plain")


def test_attempts_that_prove_nothing_are_undetermined_also_where_they_succeed() -> None:
    tried = attempted(Places(), is_lab=False)
    useless = Attempted(tried.where, (), dict.fromkeys(tried.ends, "EPERM"), tried.ends, {}, True)
    for nothing in (useless, replace(useless, control={"userns": ""}, ends={"userns": "EPERM"})):
        with naming(FactError, "pve1", "proves nothing"):
            judge(nothing)
    assert judge(with_success("uevent"))  # absent on the node
