"""Provisioning a booted node: the guest's programs, the templates, hello-world's registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from docker_lxc_gate.lab import tree
from docker_lxc_gate.lab.docker_images import hello
from docker_lxc_gate.machines.programs import program

if TYPE_CHECKING:
    from docker_lxc_gate.lab.progress import Steps
    from docker_lxc_gate.machines.transport import Transport

TEMPLATES = "/var/lib/vz/template/cache"
REGISTRY = "10.0.3.1:5000"
_REPOSITORY = "/usr/local/phoenix_hypervisor"
_FRONT = "/usr/local/lib/pct-front"
#: The limit for a service's start under emulation (seconds).
_PATIENCE = 120.0
#: The size of the pieces in which a large file is sent (bytes).
_PIECE = 4 << 20
_COMMIT = program("docker_lxc_gate.lab", "commit.sh")


@dataclass(frozen=True)
class Provisioning:
    """The content of a node: the guest's programs, and container templates by file name."""

    guest: tree.Tree
    templates: Mapping[str, Path]

    @property
    def digest(self) -> str:
        """The digest of everything on a provisioned node; a template's folder names its build."""
        built = {name: path.parent.name for name, path in self.templates.items()}
        return tree.digest(self.guest, built, hello.image_id(), _COMMIT)

    def install(self, node: Transport, steps: Steps) -> None:
        """Bring it all to a node that has been booted.

        Raises CommandFailed if a command on the node failed, TransportError if it does not answer.
        """
        for name, path in self.templates.items():
            with steps(f"template {name} ({path.stat().st_size >> 20} MiB) onto the node"):
                _upload(node, path, f"{TEMPLATES}/{name}")
        with steps("hello-world into the node's registry"):
            _push_hello(node)
        with steps("guest programs onto the node"):
            unpack = ["tar", "-xC", "/", "--no-overwrite-dir"]
            node.run(unpack, stdin=tree.archive(self.guest)).require()
            node.run(["sh", "-c", _COMMIT, "commit", _REPOSITORY], timeout=_PATIENCE).require()
            # Compile now: at the first use, the new files would show up in a comparison.
            node.run(["python3", "-m", "compileall", "-q", _FRONT]).require()


def _upload(node: Transport, path: Path, to: str) -> None:
    """Copy a large file in pieces, of which only one is in memory."""
    _shell(node, f"mkdir -p {TEMPLATES} && : > {to}")
    with path.open("rb") as source:
        while piece := source.read(_PIECE):
            _shell(node, f"cat >> {to}", piece)


def _push_hello(node: Transport) -> None:
    retries = ["--retry", f"{_PATIENCE:g}", "--retry-delay", "1", "--retry-all-errors"]
    answers = node.run(["curl", "-sf", *retries, f"http://{REGISTRY}/v2/"], timeout=2 * _PATIENCE)
    answers.require("the registry does not answer")
    archive = "/tmp/hello-world.tar"  # noqa: S108 - on the lab's node, which is root's alone
    _shell(node, f"cat > {archive}", hello.docker_archive())
    target = f"docker://{REGISTRY}/{hello.REFERENCE}"
    copy = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{archive}", target]
    node.run(copy, timeout=_PATIENCE).require()
    _shell(node, f"rm {archive}")


def _shell(node: Transport, script: str, stdin: bytes = b"") -> None:
    node.run(["sh", "-c", script], stdin=stdin, timeout=_PATIENCE).require()
