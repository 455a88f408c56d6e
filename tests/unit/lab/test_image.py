"""The images of a lab, built with stand-ins for mmdebstrap and the other programs."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from docker_lxc_gate.lab import errors, image, progress, recipe
from docker_lxc_gate.lab.errors import LabError
from docker_lxc_gate.lab.image import Images
from docker_lxc_gate.lab.sources import Archives
from tests.doubles.programs.processes import until
from tests.doubles.samples import sample

HERE = Archives(("http://a/debian",), ())
THERE = Archives(("http://b/debian",), ())
#: ``mmdebstrap`` notes how it was called, and makes the same root every time, or fails.
PROGRAMS = {
    "mmdebstrap": """
printf '%s\\n' "$*" >>"$0.calls"
for word in "$@"; do case $word in
    */root.tar) cp "$0.tar" "$word"; cat "${word%/*}"/lab.* >"$0.sources" ;;
esac; done
[ ! -e "$0.fails" ] || { for i in $(seq 30); do echo line$i; done; exit 7; }
""",
    "mke2fs": "",
    "ssh-keygen": 'for file; do :; done; echo key >"$file"; echo ssh-ed25519 AAAA >"$file.pub"',
    "zstd": 'while [ "$1" != --rm ]; do shift; done; mv "$2" "$4"',
}


@pytest.fixture
def mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins in PATH for all programs that build an image; the path of the first."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in PROGRAMS.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}")
        (tools / name).chmod(0o755)
    with tarfile.open(tools / "mmdebstrap.tar", "w") as root:
        for name in ("boot/vmlinuz-6.12", "boot/initrd.img-6.12", "var/lib/dpkg/status"):
            root.addfile(tarfile.TarInfo(f"./{name}"), io.BytesIO())
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    monkeypatch.setattr(image, "_keyring", list)
    monkeypatch.setattr(image, "SPACE", 0)
    return tools / "mmdebstrap"


@pytest.fixture
def images(tmp_path: Path, mmdebstrap: Path) -> Images:
    return Images(tmp_path / "images", HERE, progress.silent)


def calls(mmdebstrap: Path) -> list[str]:
    noted = mmdebstrap.with_name("mmdebstrap.calls")
    return noted.read_text().splitlines() if noted.exists() else []


def test_node_built_once_is_found_again(images: Images, mmdebstrap: Path) -> None:
    built = images.node("trixie")
    assert built.name == f"node-trixie-{recipe.node_digest('trixie', HERE)}"
    asked = (("trixie", HERE), ("bookworm", HERE), ("trixie", THERE), ("sid", HERE))
    assert len({recipe.node_digest(*each) for each in asked}) == len(asked)
    assert built.host_key == "ssh-ed25519 AAAA"
    assert images.node("trixie") == built
    (call,) = calls(mmdebstrap)
    assert f"/{built.name}.partial/root.tar" in call


def test_node_whose_build_fails_leaves_nothing_and_shows_its_last_lines(
    images: Images, mmdebstrap: Path
) -> None:
    mmdebstrap.with_name("mmdebstrap.fails").touch()
    with pytest.raises(LabError) as caught:
        images.node("trixie")
    assert "line30\n" in str(caught.value)
    assert "line5\n" not in str(caught.value)
    assert list(images.folder.iterdir()) == []


def test_node_without_room_is_not_built(
    images: Images, mmdebstrap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "SPACE", 1 << 60)
    with pytest.raises(LabError, match="LAB_HOME"):
        images.node("trixie")
    assert calls(mmdebstrap) == []


#: Builds a node's image, with the stand-ins.
BUILD = sample("programs/build")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_build_that_is_interrupted_ends_its_programs_and_leaves_nothing(
    images: Images, mmdebstrap: Path, number: signal.Signals
) -> None:
    """Of mmdebstrap each process ends: its parent waits for a child that removes its folder."""
    mmdebstrap.write_text("#!/bin/sh\ntrap : TERM\necho $$ >>$0.calls\nsleep 60 | cat\n")
    argv = ["env", "--default-signal", sys.executable, "-c", BUILD, str(images.folder)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, start_new_session=True) as child:
        until(lambda: calls(mmdebstrap))
        child.send_signal(number)
        assert child.stderr
        assert child.stderr.read().splitlines()[-1] == b"KeyboardInterrupt"
    assert list(images.folder.iterdir()) == []
    (pid,) = calls(mmdebstrap)
    assert not Path("/proc", pid).exists()


def test_node_after_a_killed_build_removes_what_that_left(images: Images) -> None:
    left = images.folder / "node-x-1.partial"
    left.mkdir(parents=True)
    built = images.node("trixie")
    assert list(images.folder.iterdir()) == [built.folder]


def test_prune_leaves_only_the_images_in_use(images: Images) -> None:
    node, templates = images.node("trixie"), images.templates("trixie")
    replace(images, archives=THERE).templates("trixie")
    assert sorted(templates) == [
        recipe.template_name("trixie", variant) for variant in sorted(recipe.VARIANTS)
    ]
    kept = {node.folder, *(path.parent for path in templates.values())}
    images.prune(kept)
    assert {*images.folder.iterdir()} == kept
    assert len(kept) == 2


def test_require_programs_without_them_names_their_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(LabError) as caught:
        errors.require_programs("qemu-img", "mke2fs")
    assert {"e2fsprogs", "qemu-utils"} <= {*str(caught.value).split()}
