"""The image that shows a layered mount: brought by us, for its machine, and taken away again."""

import io
import json
import tarfile
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.transport import Transport
from steps import probe
from tests.doubles.answering import Answering
from tests.doubles.canned import Machine, Runtime
from tests.doubles.naming import naming, not_compliant
from tests.doubles.programs.dockerd import no_dockerd


class Guest(Answering):
    """A container whose Docker has some images."""

    def __init__(self) -> None:
        super().__init__(self._answer, "container 950")
        self.cpu = "x86_64"
        self.images: set[str] = set()
        self.broken = False

    def _answer(self, words: list[str]) -> tuple[int, bytes, bytes]:
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
                with tarfile.open(fileobj=io.BytesIO(self.stdin)) as archive:
                    manifest = archive.extractfile("manifest.json")
                    assert manifest is not None
                    self.images |= set(json.load(manifest)[0]["RepoTags"])
                return 0, b"Loaded image\n", b""
            case ["docker", "info", *_] | ["docker", "run", "-d", _, _, probe.PROBE, _, "wait"]:
                return 0, b"", b""
        raise AssertionError(f"nobody said what {words} answers")


def loaded(guest: Transport) -> tuple[CommandResult, list[Callable[[], Any]]]:
    """Load the image; return the result, and what is done at the end."""
    finalizers: list[Callable[[], Any]] = []
    request: Any = SimpleNamespace(addfinalizer=finalizers.append)
    return probe.image_is_loaded(guest, request), finalizers


def test_image_is_loaded_is_removed_unless_it_existed() -> None:
    guest = Guest()
    result, finalizers = loaded(guest)
    assert result.ok
    assert guest.images == {probe.PROBE}
    for finalize in finalizers:
        finalize()
    assert guest.images == set()
    guest.images = {probe.PROBE}
    assert loaded(guest)[1] == [], "what was there stays"


def test_image_is_loaded_on_another_processor_is_undetermined() -> None:
    guest = Guest()
    guest.cpu = "aarch64"
    with naming(FactError, "950", "aarch64", "x86_64"):
        loaded(guest)
    with naming(CommandFailed, "uname"):
        loaded(Machine({}, {"uname -m": (1, "x86_64", "uname: no")}))
    assert guest.images == set()


def test_root_is_fuse_where_the_image_cannot_be_loaded_names_the_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest, request = Guest(), Mock()
    guest.broken = True
    run = probe.docker_container_runs(guest, loaded(guest)[0], request)
    assert not run.result.ok
    no_dockerd(monkeypatch)
    with not_compliant("/dev/fuse"):
        probe.root_is_fuse(guest, Runtime(Machine()), 950, run)
