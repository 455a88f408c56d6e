"""The image that shows a layered mount: brought by us, for its machine, and taken away again."""

from __future__ import annotations

import io
import json
import tarfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from facts import dockerd
from steps import hello_world, probe
from targets.errors import FactError
from targets.target import Target
from targets.transport import Base, CommandResult
from tests.doubles.canned import Machine, Runtime
from tests.doubles.dockerd import Dockerd, no_dockerd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ONES = "1" * 64


class Guest(Base):
    """A container whose Docker has some images."""

    machine = "container 950"

    def __init__(self) -> None:
        self.cpu = "x86_64"
        self.images: set[str] = set()
        self.broken = False
        self.ran: list[list[str]] = []

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        words = list(argv)
        self.ran.append(words)
        code, out, err = self.answer(words, stdin)
        return CommandResult(tuple(words), code, out, err, self.machine, 0.0, 0.0)

    def answer(self, words: list[str], stdin: bytes) -> tuple[int, bytes, bytes]:
        match words:
            case ["uname", "-m"]:
                return 0, self.cpu.encode() + b"\n", b""
            case ["docker", "image", "inspect", name]:
                return int(name not in self.images), b"[]\n", b""
            case ["docker", "image", "rm", "-f", name]:
                self.images.remove(name)
                return 0, b"", b""
            case ["docker", "load", "-q"]:
                if self.broken:
                    return 1, b"", b"fuse: device not found, try 'modprobe fuse' first"
                with tarfile.open(fileobj=io.BytesIO(stdin)) as archive:
                    manifest = archive.extractfile("manifest.json")
                    assert manifest is not None
                    self.images |= set(json.load(manifest)[0]["RepoTags"])
                return 0, b"Loaded image\n", b""
            case ["docker", "info", "-f", "{{.DockerRootDir}}"] | [
                "docker",
                "run",
                "-d",
                "--name",
                _,
                probe.PROBE,
                "/hello",
                "wait",
            ]:
                return 0, b"", b""
        raise AssertionError(f"nobody said what {words} answers")


@pytest.fixture
def finalizers() -> list[Callable[[], Any]]:
    return []


@pytest.fixture
def scenario(finalizers: list[Callable[[], Any]]) -> Any:
    return SimpleNamespace(addfinalizer=finalizers.append)


def test_what_was_brought_is_taken_away(scenario: Any, finalizers: list[Any]) -> None:
    guest = Guest()
    assert probe.image_is_loaded(guest, scenario).ok
    assert guest.images == {probe.PROBE}
    for finalize in finalizers:
        finalize()
    assert guest.images == set()


def test_what_was_there_stays(scenario: Any, finalizers: list[Any]) -> None:
    guest = Guest()
    guest.images = {probe.PROBE}
    probe.image_is_loaded(guest, scenario)
    assert finalizers == []


def test_on_another_machine_it_is_said_that_it_cannot_be_asked(scenario: Any) -> None:
    guest = Guest()
    guest.cpu = "aarch64"
    with pytest.raises(FactError, match=r"container 950 is aarch64: .* for x86_64"):
        probe.image_is_loaded(guest, scenario)
    assert guest.images == set()


def test_an_image_that_cannot_be_loaded_is_a_container_that_cannot_be_started(
    scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = Guest()
    guest.broken = True
    run = probe.docker_container_runs(guest, probe.image_is_loaded(guest, scenario), scenario)
    assert not run.result.ok
    no_dockerd(monkeypatch)
    with pytest.raises(AssertionError, match="no usable /dev/fuse"):
        probe.root_is_fuse(guest, Runtime(Machine()), 950, run)


@pytest.mark.parametrize(
    ("image", "digest", "genuine"),
    [
        (
            "hello-world",
            f"hello-world@sha256:{ONES}",
            True,
        ),
        (
            "hello-world:latest",
            f"docker.io/library/hello-world@sha256:{ONES}",
            True,
        ),
        (
            "r.example:5000/library/hello-world",
            f"r.example:5000/library/hello-world@sha256:{ONES}",
            True,
        ),
        (
            "r.example:5000/library/hello-world",
            f"hello-world@sha256:{ONES}",
            False,
        ),
    ],
)
def test_a_digest_is_that_of_the_image(
    image: str, digest: str, genuine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = f"sha256:{'2' * 64}"
    record = dockerd.Record("a" * 64, ran, dockerd.State("exited", 0))
    images: dict[str, dockerd.Image | None] = {ran: dockerd.Image(ran, [digest])}
    Dockerd(records={"gate-1": record}, images=images).runs(monkeypatch)
    run: Any = SimpleNamespace(name="gate-1")
    runtime, target = Runtime(Machine()), Target("pve1", 950)
    if genuine:
        hello_world.image_is_genuine(runtime, 950, run, image, target)
    else:
        with pytest.raises(AssertionError, match="was never pulled as"):
            hello_world.image_is_genuine(runtime, 950, run, image, target)
