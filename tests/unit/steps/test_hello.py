import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

import pytest

from docker_lxc_gate.lab.docker_images import hello


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is for x86-64")
def test_elf_is_what_its_source_assembles_to(tmp_path: Path) -> None:
    source, made = Path(hello.__file__).parents[1] / "hello/hello.s", tmp_path / "hello"
    subprocess.run(["as", "--64", source, "-o", tmp_path / "hello.o"], check=True)
    link = ["ld", "-m", "elf_x86_64", "-Ttext", "0x400000", "--oformat", "binary"]
    subprocess.run([*link, tmp_path / "hello.o", "-o", made], check=True)
    assert made.read_bytes() == hello.PROGRAM


def _files(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {
            member.name: content.read()
            for member in opened
            if (content := opened.extractfile(member)) is not None
        }


def test_docker_archive_holds_two_layers_with_the_program_in_the_lower() -> None:
    files = _files(hello.docker_archive())
    (manifest,) = json.loads(files["manifest.json"])
    configuration = files[manifest["Config"]]
    digests = [f"sha256:{hashlib.sha256(files[name]).hexdigest()}" for name in manifest["Layers"]]
    assert len(digests) == 2
    assert json.loads(configuration)["rootfs"]["diff_ids"] == digests
    with tarfile.open(fileobj=io.BytesIO(files[manifest["Layers"][0]])) as layer:
        assert layer.getmember("hello").mode == 0o755
    assert hello.image_id() == f"sha256:{hashlib.sha256(configuration).hexdigest()}"
