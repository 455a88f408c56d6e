import hashlib
import io
import json
import platform
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from docker_lxc_gate.lab.docker_images import hello

native = pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is for x86-64")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "hello"
    path.write_bytes(hello.PROGRAM)
    path.chmod(0o755)
    return path


@native
def test_elf_prints_its_message_and_exits_0(program: Path) -> None:
    done = subprocess.run([program], capture_output=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"\nHello from Docker!\n")
    assert done.stdout.endswith(b" docker-lxc-gate lab.\n")


@native
def test_elf_is_what_its_source_assembles_to(tmp_path: Path) -> None:
    source, made = Path(hello.__file__).parents[1] / "hello/hello.s", tmp_path / "hello"
    subprocess.run(["as", "--64", source, "-o", tmp_path / "hello.o"], check=True)
    link = ["ld", "-m", "elf_x86_64", "-Ttext", "0x400000", "--oformat", "binary"]
    subprocess.run([*link, tmp_path / "hello.o", "-o", made], check=True)
    assert made.read_bytes() == hello.PROGRAM


@native
def test_elf_that_waits_ends_when_it_is_told_to(program: Path) -> None:
    with subprocess.Popen([program, "wait"], stdout=subprocess.PIPE) as waiting:
        deadline = time.monotonic() + 300
        # PID 1 of a container gets no signal that it has no handler for.
        while not _handles(waiting.pid, signal.SIGTERM):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert waiting.poll() is None
        waiting.terminate()
        assert waiting.wait(timeout=300) == 0
        assert waiting.stdout is not None
        assert waiting.stdout.read() == b""


def _handles(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught & 1 << (number - 1))


def _files(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {
            member.name: content.read()
            for member in opened
            if (content := opened.extractfile(member)) is not None
        }


def test_docker_archive_holds_its_configuration_and_two_layers_with_the_program_in_the_lower() -> (
    None
):
    files = _files(hello.docker_archive())
    (manifest,) = json.loads(files["manifest.json"])
    configuration = files[manifest["Config"]]
    digests = [f"sha256:{hashlib.sha256(files[name]).hexdigest()}" for name in manifest["Layers"]]
    assert len(digests) == 2
    assert json.loads(configuration)["rootfs"]["diff_ids"] == digests
    with tarfile.open(fileobj=io.BytesIO(files[manifest["Layers"][0]])) as layer:
        assert layer.getmember("hello").mode == 0o755
    assert hello.image_id() == f"sha256:{hashlib.sha256(configuration).hexdigest()}"
