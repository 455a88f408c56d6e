"""Docker's sentences, by its own words and by the kernel's mount table."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from lab import hello
from remediation import docker_in_lxc
from remediation.errors import CommandFailed, FactError, TransportError
from remediation.transport import CommandResult
from steps import docker as steps
from tests.steps.doubles import Answer, Host, Machine, Runtime

if TYPE_CHECKING:
    from collections.abc import Callable

DRIVER = "fuse-overlayfs"
ENABLED = "systemctl is-enabled docker.service"
INFO = "docker info -f '{{json .}}'"
MERGED = "/var/lib/docker/fuse-overlayfs/ab/merged"
INSPECT = "docker inspect -f '{{.GraphDriver.Data.MergedDir}}' gate-1"


def result(code: int = 0, out: str = "", err: str = "") -> CommandResult:
    return CommandResult(("docker",), code, out.encode(), err.encode(), "container 950", 0.0, 1.0)


def run(code: int = 0, out: str = "", err: str = "") -> steps.DockerRun:
    return steps.DockerRun("gate-1", result(code, out, err))


def test_docker_runs() -> None:
    steps.docker_runs(Host(running=("docker",), answers={ENABLED: "enabled\n"}))
    with pytest.raises(AssertionError, match="Docker is not installed in the container"):
        steps.docker_runs(Host(answers={ENABLED: "enabled\n"}))
    for answer in ("disabled\n", "enabled-runtime\n", ""):
        with pytest.raises(AssertionError, match="does not start at boot"):
            steps.docker_runs(Host(running=("docker",), answers={ENABLED: answer}))


@pytest.mark.parametrize(
    ("state", "log", "why"),
    [
        ("masked\n", "failed to start daemon: x\n", r"it is masked \(systemctl unmask docker\)"),
        ("loaded\n", "a\nfailed to load x\nunable to configure y\nz\n", "unable to configure y"),
        ("loaded\n", "it has failed to\n", "journalctl -u docker"),
    ],
)
def test_docker_is_down(state: str, log: str, why: str) -> None:
    answers = {
        "systemctl show docker -p LoadState --value": state,
        "journalctl -u docker -b -n 60 -q --no-pager -o cat": log,
    }
    down = Host(programs=("dockerd",), answers=answers)
    with pytest.raises(AssertionError, match=f"is not running in the container: {why}$"):
        steps.docker_runs(down)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ('{"Driver": "overlay2"}', "storage driver is 'overlay2', not 'fuse-overlayfs'"),
        ('{"Driver": "fuse-overlayfs2"}', "storage driver is"),
        ('{"Driver": "", "DriverStatus": null}', "Docker does not answer"),
        ((1, "", "Cannot connect to the Docker daemon at"), "not answer: Docker is not running"),
        (
            '{"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.snapshotter.v1"]]}',
            "uses the containerd image store",
        ),
        (
            f'{{"Driver": "{DRIVER}", "DriverStatus": [["driver-type", "io.snapshotter.v1"]]}}',
            "uses the containerd image store",
        ),
    ],
)
def test_the_storage_driver(info: Answer, message: str) -> None:
    for status in ("null", '[["Supports d_type", "true"]]'):
        good = f'{{"Driver": "{DRIVER}", "ServerVersion": "26.1", "DriverStatus": {status}}}'
        steps.storage_driver_is(Machine({}, {INFO: good}), DRIVER)
    with pytest.raises(AssertionError, match=message):
        steps.storage_driver_is(Machine({}, {INFO: info}), DRIVER)


TABLE = "/dev/vda / ext4 rw 0 0\n{} {} {} rw,nodev 0 0\n"


def root(
    table: str,
    docker_run: steps.DockerRun | None = None,
    merged: Answer = MERGED,
    data: str = "/var/lib/docker",
) -> None:
    node = Machine(
        {"/proc/7/mounts": table, docker_in_lxc.PROFILE_LOCAL: None},
        {"lxc-info -P /var/lib/lxc -n 950 -p -H": "7"},
    )
    inside = Machine({}, {INSPECT: merged, "docker info -f '{{.DockerRootDir}}'": f"{data}\n"})
    steps.root_is_fuse(inside, Runtime(node), 950, docker_run or run())


@pytest.mark.parametrize(
    ("source", "kind"), [("fuse-overlayfs", "fuse.fuse-overlayfs"), ("fuse-overlayfs", "fuse")]
)
def test_the_root_is_fuse(source: str, kind: str) -> None:
    root(TABLE.format(source, MERGED, kind))
    root(TABLE.format("overlay", MERGED, "overlay") + TABLE.format(source, MERGED, kind))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.format("overlay", MERGED, "overlay"), r"mounted by overlay \(overlay\)"),
        (TABLE.format("sshfs", MERGED, "fuse"), r"mounted by fuse \(sshfs\)"),
        (TABLE.format("fuse-overlayfs", MERGED, "overlay"), "mounted by overlay"),
        (TABLE.format("fuse-overlayfs", f"{MERGED}2", "fuse"), "nothing is mounted at"),
        (
            TABLE.format("fuse-overlayfs", MERGED, "fuse.fuse-overlayfs")
            + TABLE.format("overlay", MERGED, "overlay"),
            "mounted by overlay",
        ),
        ("", "nothing is mounted at"),
    ],
)
def test_the_root_is_something_else(table: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        root(table)


def test_no_container_or_no_directory_of_it() -> None:
    with pytest.raises(AssertionError, match="no container can be started: keyctl is off"):
        root("", run(125, err="create keyring x: function not implemented"))
    with pytest.raises(AssertionError, match=r"keyctl is off.*; Docker keeps its data in /srv/d "):
        root("", run(125, err="create keyring x: function not implemented"), data="/srv/d")
    with pytest.raises(CommandFailed, match="No such object"):
        root("", merged=(1, MERGED, "No such object"))


@pytest.mark.parametrize(
    ("merged", "listing", "message"),
    [
        (
            MERGED,
            (2, "hello", "ls: Transport endpoint is not connected"),
            "serves nothing: the fuse",
        ),
        (MERGED, "\n", "is empty"),
        ((1, MERGED, "No such object"), "hello\n", "No such object"),
    ],
)
def test_the_mount_serves(merged: Answer, listing: Answer, message: str) -> None:
    ls = f"ls -A {MERGED}"
    steps.mount_serves(Machine({}, {INSPECT: MERGED, ls: "hello\n"}), run())
    with pytest.raises((AssertionError, CommandFailed), match=message):
        steps.mount_serves(Machine({}, {INSPECT: merged, ls: listing}), run())


GREETING = "\nHello from Docker!\nThis message shows that"


def test_it_greets() -> None:
    steps.it_greets(Machine(), run(out=GREETING), "hello-world")
    failed = run(125, GREETING, "create keyring x: function not implemented")
    with pytest.raises(AssertionError, match="hello-world ended with 125: keyctl is off"):
        steps.it_greets(Machine(), failed, "hello-world")
    with pytest.raises(AssertionError, match="did not greet: 'Hello'"):
        steps.it_greets(Machine(), run(out="Hello"), "hello-world")


def test_of_a_known_pair_both_halves_are_said() -> None:
    failed = run(126, err="open sysctl net.ipv4.ip_unprivileged_port_start: permission denied")
    runc = Machine({}, {"runc --version": "runc version 1.3.3\ncommit: x\n"})
    with pytest.raises(AssertionError, match=r"ended with 126: .*; it has runc version 1\.3\.3$"):
        steps.it_greets(runc, failed, "hello-world")


def test_hello_world_is_absent() -> None:
    rm, inspect = "docker image rm -f hello-world", "docker image inspect hello-world"
    absent: Answer = (1, "[]", "No such image")
    steps.image_is_absent(Machine({}, {rm: "", inspect: absent}), "hello-world")
    with pytest.raises(FactError, match="hello-world cannot be removed"):
        steps.image_is_absent(Machine({}, {rm: (1, "", "in use"), inspect: "[{}]"}), "hello-world")


PULLED_AT = "1700000000"
LOG = f"journalctl -u docker --since @{PULLED_AT} -q --no-pager -o cat"


def hello_runs(
    pull: Answer, monkeypatch: pytest.MonkeyPatch, said: Answer = GREETING, log: str = ""
) -> tuple[steps.DockerRun, list[str]]:
    monkeypatch.setattr(steps.secrets, "token_hex", lambda n: "0" * n)
    inside = Machine(
        {},
        {
            "date +%s": f"{PULLED_AT}\n",
            "docker pull hello-world": pull,
            LOG: log,
            "docker run --name gate-0000 hello-world": said,
            "docker rm -f gate-0000": "",
        },
    )
    finalizers: list[Callable[[], Any]] = []
    request: Any = SimpleNamespace(addfinalizer=finalizers.append)
    found = steps.hello_world_runs(inside, "hello-world", request)
    for finalize in finalizers:
        finalize()
    return found, inside.ran


def test_hello_world_is_pulled_and_run_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    found, ran = hello_runs("Status: Downloaded newer image", monkeypatch)
    assert found.name == "gate-0000"
    assert found.result.text == GREETING
    assert [line.split()[1] for line in ran] == ["+%s", "pull", "run", "rm"]


@pytest.mark.parametrize(
    "said",
    [
        "toomanyrequests: x",
        "lookup r: no such host",
        "dial tcp 1.1.1.1:443: connect: connection refused",
        "i/o timeout",
        "TLS handshake timeout",
        "Network is unreachable",
        "Temporary failure in name resolution",
        "tls: failed to verify certificate: x509: expired",
        "unexpected EOF",
        "context deadline exceeded",
        "net/http: request canceled while waiting",
        "received unexpected HTTP status: 503 Service Unavailable",
    ],
)
def test_a_registry_that_cannot_be_reached(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TransportError, match="the registry did not serve hello-world: "):
        hello_runs((1, "", said), monkeypatch)
    hello_runs((0, said, ""), monkeypatch)


def test_a_pull_that_fails_for_another_reason_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = hello_runs((1, "", "failed to register layer"), monkeypatch, (125, "", "no image"))
    assert not found.result.ok


@pytest.mark.parametrize("log", ["mkdir x: permission denied\n", "Operation not permitted\n"])
def test_a_pull_that_the_platform_refused_is_judged(
    log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: Answer = (1, "", "lookup r: no such host")  # the next registry's, after the refusal
    found, _ = hello_runs(failed, monkeypatch, (125, "", "no image"), log)
    assert not found.result.ok


OTHER_IDS = "failed to Lchown /x for UID 99999: lchown /x: invalid argument"


@pytest.mark.parametrize(("said", "log"), [(OTHER_IDS, ""), ("unexpected EOF", f"{OTHER_IDS}\n")])
def test_an_image_of_other_ids_is_not_the_platforms(
    said: str, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FactError, match=r"hello-world holds files of ids that .* Lchown /x"):
        hello_runs((1, "", said), monkeypatch, log=log)
    hello_runs("", monkeypatch, log=OTHER_IDS)  # it was pulled: of another image, then


def test_a_container_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps.secrets, "token_hex", lambda n: "0" * n)
    lines = [
        f"docker run -d --name gate-0000 {steps.PROBE} /hello wait",
        "docker rm -f gate-0000",
    ]
    inside = Machine({}, dict.fromkeys(lines, "0af9"))
    finalizers: list[Callable[[], Any]] = []
    request: Any = SimpleNamespace(addfinalizer=finalizers.append)
    found = steps.docker_container_runs(inside, result(), request)
    assert (found.name, found.result.text) == ("gate-0000", "0af9")
    for finalize in finalizers:
        finalize()
    assert inside.ran == lines
    assert not steps.docker_container_runs(inside, result(1), request).result.ok
    assert inside.ran == lines


SOCKET = "/proc/7/root/run/docker.sock"


def api(**answers: Any) -> Runtime:
    """Return a node on which dockerd answers these paths (``__`` for ``/``)."""
    paths = {"run": "/containers/gate-1/json", "image": "/images/sha256:1/json"}
    node = Machine({}, {"lxc-info -P /var/lib/lxc -n 950 -p -H": "7"})
    for name, answer in answers.items():
        line = f"curl -sS --max-time 60 --unix-socket {SOCKET} http://docker{paths[name]}"
        said = json.dumps(answer) if isinstance(answer, dict) else answer
        node.answers[line] = said
    return Runtime(node)


def state(status: str = "exited", code: int = 0) -> dict[str, Any]:
    return {"Id": "1", "Image": "sha256:1", "State": {"Status": status, "ExitCode": code}}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (state(code=1), "recorded exited, exit code 1"),
        (state(status="running"), "recorded running, exit code 0"),
        ({"message": "No such container"}, "knows of no such run: No such container"),
    ],
)
def test_dockers_own_record(record: dict[str, Any], message: str) -> None:
    steps.record_says_the_same(api(run=state()), 950, run())
    with pytest.raises(AssertionError, match=message):
        steps.record_says_the_same(api(run=record), 950, run())


@pytest.mark.parametrize(
    ("answer", "message"),
    [((7, "{}", "curl: (7) refused"), "cannot be asked: curl: .7. refused"), ("x", "no JSON: 'x'")],
)
def test_dockerd_that_cannot_be_asked(answer: Answer, message: str) -> None:
    with pytest.raises(FactError, match=message):
        steps.record_says_the_same(api(run=answer), 950, run())


@pytest.mark.parametrize(
    ("image", "digest", "genuine"),
    [
        ("hello-world", "hello-world@sha256:1", True),
        ("hello-world", "docker.io/library/hello-world@sha256:1", True),
        ("hello-world:latest@sha256:1", "hello-world@sha256:1", True),
        ("r.example:5000/hello-world", "r.example:5000/hello-world@sha256:1", True),
        ("hello-world", "evil/hello-world@sha256:1", False),
        ("hello-world", "evil/othello-world@sha256:1", False),
        ("hello-world", "othello-world@sha256:1", False),
    ],
)
def test_the_image_came_from_the_registry(image: str, digest: str, genuine: bool) -> None:
    runtime = api(run=state(), image={"RepoDigests": ["x@sha256:2", digest]})
    if genuine:
        steps.image_is_genuine(runtime, 950, run(), image)
        return
    with pytest.raises(AssertionError, match=r"that ran \(sha256:1\) was never pulled as"):
        steps.image_is_genuine(runtime, 950, run(), image)


def test_an_image_without_digests() -> None:
    for found in ({"RepoDigests": None}, {"RepoDigests": []}, {}):
        with pytest.raises(AssertionError, match="was never pulled as hello-world"):
            steps.image_is_genuine(api(run=state(), image=found), 950, run(), "hello-world")


def test_the_machine_of_our_image() -> None:
    refused = Machine({}, {"uname -m": (1, hello.MACHINE, "uname: no")})
    with pytest.raises(CommandFailed, match="uname"):
        steps.image_is_loaded(refused, SimpleNamespace())  # type: ignore[arg-type]
