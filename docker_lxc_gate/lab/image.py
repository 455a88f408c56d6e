"""Building the images with mmdebstrap and mke2fs, without a VM.

An image is a folder named after a digest over its recipe. It is built beside its final name
and renamed at the end, so what has the final name is whole; an interrupted build is removed
by the next one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from docker_lxc_gate.lab import recipe, tree
from docker_lxc_gate.lab.errors import LabError, require_programs
from docker_lxc_gate.machines import process
from docker_lxc_gate.machines.child import Late
from docker_lxc_gate.machines.programs import program

if TYPE_CHECKING:
    from docker_lxc_gate.lab.progress import Steps
    from docker_lxc_gate.lab.sources import Archives
    from docker_lxc_gate.lab.tree import Entry

#: Free space asked for before a build (bytes): the templates, and a machine that grows.
SPACE = 6 << 30
#: The node's disk, of which only what is written takes room (bytes).
DISK = 12 << 30
#: A mirror that answers slower than this is given up (seconds).
_BUILD_TIMEOUT = 1800.0
#: The limit for what a program prints (bytes).
_SAID = 64 << 20
#: With its lists kept, a later apt-get update in the image finds all up to date.
_KEEP_LISTS = "--skip=output/dev,cleanup/apt/lists"
_CUT_LISTS = program("docker_lxc_gate.lab", "cut_lists.sh")
_KEYRINGS = ("debian-archive-keyring.pgp", "debian-archive-keyring.gpg")


@dataclass(frozen=True)
class NodeImage:
    """A folder with a node's root, its kernel and initial RAM disk, and the keys to get in.

    The root is raw, sparse, and never written to.
    """

    folder: Path

    @property
    def name(self) -> str:
        """What the image is called: the digest is part of it."""
        return self.folder.name

    @property
    def host_key(self) -> str:
        """The node's public host key: its type and its base64, as in known_hosts."""
        words = (self.folder / "host_ed25519.pub").read_text().split()
        return " ".join(words[:2])


def _run(argv: Sequence[str], hint: str = "") -> None:
    """Run a program to its end; its last lines are in the error if it fails."""
    child: process.Process | None = None
    try:
        with process.uninterrupted():
            child = process.Process(argv)
        deadline = time.monotonic() + _BUILD_TIMEOUT
        code, out, err = child.converse(b"", deadline, _SAID)
    except BaseException as error:  # Ctrl-C, too
        if child:
            child.end_group()
        if isinstance(error, Late):
            message = f"{argv[0]} did not end within {_BUILD_TIMEOUT:.0f} s\n{hint}"
            raise LabError(message) from error
        raise
    if code:
        lines = (out + err).decode(errors="replace").splitlines()[-12:]
        last = "\n".join(f"  {line}" for line in lines)
        message = f"{argv[0]} ended with {code}:\n{last}\n{hint}"
        raise LabError(message.rstrip())


@dataclass(frozen=True)
class Images:
    """The images of one lab: those that are there, and the building of those that are not."""

    folder: Path
    archives: Archives
    steps: Steps

    def node_name(self, release: str) -> str:
        """Return what the node's image is called."""
        return f"node-{release}-{recipe.node_digest(release, self.archives)}"

    def node(self, release: str) -> NodeImage:
        """Return the node's image, built if need be; after a LabError nothing of it is left."""

        def build(into: Path) -> None:
            with self.steps(f"packages of the node (Debian {release})"):
                node = recipe.NODE
                self._bootstrap(into / "root.tar", release, node.packages, node.options)
            with self.steps("the node's disk"):
                self._disk(into)

        return NodeImage(self._built(self.node_name(release), build))

    def templates(self, release: str) -> dict[str, Path]:
        """Return the container templates of a release by file name, built if need be."""
        name = f"container-{release}-{recipe.template_digest(release, self.archives)}"
        later = " ".join((*recipe.CONTAINER.docker, *recipe.CONTAINER.later))
        extra = (_KEEP_LISTS, f'--customize-hook=set -- "$1" {later}\n{_CUT_LISTS}')

        def build(into: Path) -> None:
            for variant in recipe.VARIANTS:
                docker = recipe.CONTAINER.docker if variant == "docker" else ()
                if docker and release != "bookworm":
                    docker += ("docker-cli",)  # a package of its own (a Recommends) since trixie
                ifupdown = recipe.VARIANTS[variant] == "ifupdown"
                network = recipe.CONTAINER.ifupdown if ifupdown else ()
                packages = (*recipe.CONTAINER.packages, *network, *docker)
                with self.steps(f"container template debian-{release}-{variant}"):
                    self._bootstrap(into / "root.tar", release, packages, extra)
                    self._template(into, release, variant)

        folder = self._built(name, build)
        return {path.name: path for path in sorted(folder.glob("*.tar.zst"))}

    def prune(self, keep: Collection[Path]) -> None:
        """Remove all images but these; only when the machine needs no other."""
        if self.folder.is_symlink():  # another lab's
            return
        for path in self.folder.glob("*"):
            if path.is_dir() and path not in keep:
                shutil.rmtree(path)

    def _built(self, name: str, build: Callable[[Path], None]) -> Path:
        final = self.folder / name
        if final.is_dir():
            return final
        require_programs("mmdebstrap", "mke2fs", "ssh-keygen", "zstd")
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob("*.partial"):  # by an interrupted build
            shutil.rmtree(left)
        require_space(self.folder)
        with _renamed_when_whole(final) as partial:
            build(partial)
        return final

    def _bootstrap(
        self, into: Path, release: str, packages: Sequence[str], extra: Sequence[str]
    ) -> None:
        """Run mmdebstrap with ``extra`` options, from Debian's archives."""
        listed = into.with_name("lab.list")
        listed.write_text("".join(f"{line}\n" for line in self.archives.lines(release)))
        options = [*recipe.apt_options(release), *self.archives.settings]
        argv = ["mmdebstrap", "--variant=minbase", "--architectures=amd64", *extra]
        argv += [f"--aptopt={option}" for option in options]
        argv += [f"--dpkgopt={option}" for option in recipe.APT.dpkg]
        argv += [*_keyring(), f"--include={','.join(packages)}", release, str(into), str(listed)]
        _run(argv, "mirror not reachable? name another: LAB_MIRROR=URL")
        listed.unlink()

    def _disk(self, into: Path) -> None:
        for name, comment in (("id_ed25519", "docker-lxc-gate"), ("host_ed25519", "lab")):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment]
            _run([*argv, "-f", str(into / name)])
        files = {**recipe.node_tree(self.archives), **_key_files(into)}
        disk, packed, whole = into / "disk.raw", into / "root.tar", into / "whole.tar"
        with packed.open("rb") as base, whole.open("wb") as out:
            boot = tree.lay_over(base, files, (), out)
        (into / "vmlinuz").write_bytes(boot["vmlinuz"])
        (into / "initrd.img").write_bytes(boot["initrd.img"])
        with disk.open("wb") as out:
            out.truncate(DISK)
        argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "lab", "-d", str(whole), str(disk)]
        _run(argv)
        packed.unlink()
        whole.unlink()

    def _template(self, into: Path, release: str, variant: str) -> None:
        name = recipe.template_name(release, variant)
        files = recipe.container_tree(self.archives, variant)
        packed, whole = into / "root.tar", into / "whole.tar"
        with packed.open("rb") as base, whole.open("wb") as out:
            tree.lay_over(base, files, recipe.CONTAINER.dropped, out)
        _run(["zstd", "-q", "-T0", "-10", "--rm", str(whole), "-o", str(into / name)])
        packed.unlink()


@contextmanager
def _renamed_when_whole(final: Path) -> Iterator[Path]:
    partial = final.with_name(f"{final.name}.partial")
    partial.mkdir()
    try:
        yield partial
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_space(folder: Path) -> None:
    """Raise LabError if there is not room for a build below ``folder``."""
    free = shutil.disk_usage(folder).free
    if free < SPACE:
        has, needs = (f"{size / (1 << 30):.1f}" for size in (free, SPACE))
        raise LabError(
            f"{folder} has {has} GiB free, and the lab needs {needs}\n"
            "make room, or put the lab elsewhere: LAB_HOME=FOLDER"
        )


def _keyring() -> list[str]:
    """Return mmdebstrap's option for Debian's keys, which other distributions lack."""
    for name in _KEYRINGS:
        path = Path("/usr/share/keyrings", name)
        if path.is_file():
            return [f"--keyring={path}"]
    raise LabError(
        "Debian's archive keys are not installed\ninstall: apt-get install debian-archive-keyring"
    )


def _key_files(into: Path) -> dict[str, Entry]:
    host = "/etc/ssh/ssh_host_ed25519_key"
    return {
        "/root/.ssh/authorized_keys": tree.Entry((into / "id_ed25519.pub").read_bytes(), 0o600),
        host: tree.Entry((into / "host_ed25519").read_bytes(), 0o600),
        f"{host}.pub": tree.Entry((into / "host_ed25519.pub").read_bytes()),
    }
