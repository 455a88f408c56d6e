"""dockerd asked from the node: who listens is known first, and nothing it says is taken unread."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import dockerd
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Command
from tests.doubles.answering import Answering
from tests.doubles.canned import Runtime
from tests.doubles.naming import naming
from tests.doubles.programs.guest import Guest, guest

SOCKET = dockerd.SOCKET


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Guest]:
    (tmp_path / "run").mkdir()
    with guest(tmp_path) as started:
        yield started


def daemon(inside: Guest, *argv: str) -> dockerd.Daemon:
    return dockerd.Daemon(inside, 950, 1, ("/usr/sbin/dockerd", *argv))


def http(body: Any, status: str = "200 OK") -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    return f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{text}"


INFO = {"Driver": "vfs", "DriverStatus": [["a", "b"]], "ServerVersion": "26.1", "ID": "e1", "X": 1}


def test_info_of_a_dockerd_or_its_systemd_is_read(inside: Guest) -> None:
    for name in ("dockerd", "systemd"):  # who hands it the socket listens on it
        with inside.serving(SOCKET, http(INFO), name=name):
            found = daemon(inside, "-H", "fd://").info()
        assert found == dockerd.Info("vfs", [["a", "b"]], "26.1", "e1")
        (inside.root / SOCKET[1:]).unlink()


def test_socket_that_is_a_link_to_one_of_the_node_is_never_connected_to(
    inside: Guest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("node") / "socket"
    with socket.socket(socket.AF_UNIX) as nodes:
        nodes.bind(str(place))
        nodes.listen()
        nodes.setblocking(False)
        (inside.root / SOCKET[1:]).symlink_to(place)
        with naming(FactError, SOCKET, "container 950"):
            daemon(inside).info()
        with pytest.raises(BlockingIOError):
            nodes.accept()


def test_socket_of_a_process_of_the_node_is_told_nothing(inside: Guest) -> None:
    with socket.socket(socket.AF_UNIX) as nodes:
        nodes.bind(str(inside.root / SOCKET[1:]))
        nodes.listen()
        with naming(FactError, f"process {os.getpid()}"):
            daemon(inside).info()
        connection, _ = nodes.accept()
        assert connection.recv(1) == b""
        connection.close()


def test_socket_of_another_program_or_that_is_a_file_is_not_believed(inside: Guest) -> None:
    with inside.serving(SOCKET, http(INFO), name="netcat"), naming(FactError, "'netcat'"):
        daemon(inside).info()
    (inside.root / SOCKET[1:]).unlink()
    (inside.root / SOCKET[1:]).touch()
    with naming(FactError, SOCKET):
        daemon(inside).info()


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("flood", "524288"),
        ("HTTP/1.0 200", "dockerd"),
        (http({}, "500 Internal Server Error"), "HTTP/1.0 500"),
        ("SSH-2.0-x\r\n\r\n{}", "SSH-2.0-x"),
        (http("[" * 100_000), "dockerd"),
        (http('{"Driver": 1}'), "dockerd"),
    ],
)
def test_info_of_a_hostile_dockerd_is_our_error(inside: Guest, answer: str, named: str) -> None:
    with inside.serving(SOCKET, answer), naming(FactError, named):
        daemon(inside).info()


def test_info_of_a_silent_dockerd_ends_at_the_deadline(
    inside: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = inside.node.execute

    def soon(command: Command) -> CommandResult:
        words = (word.replace("alarm $patience;", "alarm 1;") for word in command.argv)
        return execute(replace(command, argv=tuple(words)))

    monkeypatch.setattr(inside.node, "execute", soon)
    with inside.serving(SOCKET, ""), pytest.raises(FactError):
        daemon(inside).info()


class Told(Guest):
    """A container whose socket answers by the question, and keeps what was asked."""

    def __init__(self, **answers: str) -> None:
        self.answers, self.asked, self.node = answers, [], self  # type: ignore[assignment]
        self.machine = "pve1"

    def init_pid(self, ctid: int) -> int:
        return 7

    def look(self, argv: Sequence[str], *, timeout: float = 60.0) -> CommandResult:
        self.asked.append(argv[-1])
        kind = argv[-1].split("/")[1]
        said = f"12 {b'dockerd'.hex()}\n{self.answers[kind]}"
        return CommandResult(tuple(argv), 0, said.encode(), b"", "pve1", 0.0, 0.0)


IMAGE = f"sha256:{'b' * 64}"
ENDED = {"Image": IMAGE, "State": {"Status": "exited", "ExitCode": 0, "Error": ""}}


def test_record_and_image_of_an_honest_dockerd_are_read() -> None:
    digests = [f"hello-world@{IMAGE}"]
    told = Told(containers=http(ENDED), images=http({"Id": IMAGE, "RepoDigests": digests}))
    record = daemon(told).record("gate-1")
    assert record == dockerd.ContainerRecord(IMAGE, dockerd.ContainerState("exited", 0, ""))
    assert daemon(told).image(IMAGE) == dockerd.Image(IMAGE, digests)
    assert told.asked == ["/containers/gate-1/json", f"/images/{IMAGE}/json"]


def test_record_that_dockerd_does_not_have_is_none() -> None:
    told = Told(containers=http({"message": "No such container"}, "404 Not Found"))
    assert daemon(told).record("gate-1") is None


@pytest.mark.parametrize(
    "change",
    [
        {"Image": "hello-world"},
        {"Image": f"{IMAGE}\r\nX: y"},
        {"State": None},
        {"State": {"Status": "exited", "ExitCode": "0"}},
    ],
)
def test_record_with_an_id_of_another_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FactError):
        daemon(Told(containers=http({**ENDED, **change}))).record("gate-1")


@pytest.mark.parametrize(
    ("which", "argv", "path"),
    [
        ("socket", (), SOCKET),
        ("socket", ("-H", "fd://"), SOCKET),
        ("socket", ("-Hunix:///run/own.sock",), "/run/own.sock"),
        ("socket", ("--host", "tcp://127.0.0.1:2375", "-H", "unix:///run/x"), "/run/x"),
        ("socket", ("--", "-H", "tcp://x"), SOCKET),
        ("settings", (), dockerd.SETTINGS),
        ("settings", ("--config-file=/etc//docker/./daemon.json",), dockerd.SETTINGS),
        ("settings", ("--config-file", "/a", "--config-file=/b"), "/b"),
        ("settings", ("--config-file",), dockerd.SETTINGS),
    ],
)
def test_socket_and_settings_are_those_on_the_command_line(
    which: str, argv: tuple[str, ...], path: str
) -> None:
    assert getattr(daemon(Told(), *argv), which) == path


@pytest.mark.parametrize("host", ["tcp://1.2.3.4:2375", "unix://own.sock", "unix:///a\nb", "-H"])
def test_socket_that_cannot_be_reached_is_an_error(host: str) -> None:
    with pytest.raises(FactError):
        _ = daemon(Told(), "-H", host).socket


def test_find_among_programs_returns_the_containers_own_dockerd(inside: Guest) -> None:
    assert dockerd.find(inside, 950) is None
    with inside.serving("/run/a.sock", "x", name="docker"):
        assert dockerd.find(inside, 950) is None
    with inside.serving("/run/b.sock", "x") as pid:
        found = dockerd.find(inside, 950)
        assert found is not None
        assert found.pid == pid
        assert found.argv[-2:] == ("dockerd", "x")
        with inside.serving("/run/c.sock", "x"), naming(FactError, "2 processes", "container 950"):
            dockerd.find(inside, 950)


def listed(said: str) -> Runtime:
    """Return a container whose processes called dockerd are these lines."""
    node = Answering(lambda words: b"7\n" if words[0] == "lxc-info" else said.encode(), "pve1")
    return Runtime(node)


def line(pid: int, parent: int, *, unit: bool = False) -> str:
    return f'{pid} {parent} {unit:d} ["dockerd", "{pid}"]\n'


@pytest.mark.parametrize(
    ("said", "pid"),
    [
        (line(5, 1), 5),
        (line(5, 1) + line(6, 5), 5),  # starting a program
        (line(5, 1) + line(6, 1, unit=True), 6),  # the other was started by hand
        (line(5, 1) + line(6, 1), None),
        (line(5, 1, unit=True) + line(6, 1, unit=True), None),
        ("5 1 0 [\n", None),
        ("x\n", None),
    ],
)
def test_find_takes_the_services_dockerd_and_no_other_answer(said: str, pid: int | None) -> None:
    if pid is None:
        with pytest.raises(FactError):
            dockerd.find(listed(said), 950)
        return
    found = dockerd.find(listed(said), 950)
    assert found is not None
    assert (found.pid, found.argv) == (pid, ("dockerd", str(pid)))
