"""What is asked about: a node, a container on it, and how things are done there.

``lab/950`` is the nested CI VM, ``local/950`` the machine we are on, ``root@pve1:22/950`` a
Proxmox host over SSH. What else there is to say stands in a target file, by name::

    [pve1]
    host = "pve1"            # or an alias of ~/.ssh/config; "local" and "lab" as above
    ctid = 950
    reserved = [951, 952]    # containers that may be created and destroyed
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import tomllib
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from targets import target_keys
from targets.batch import question
from targets.errors import FactError, TransportError, UsageError
from targets.root import as_root
from targets.runtime.base import Lxc, Pct, Runtime
from targets.ssh import ssh_config
from targets.ssh.connection import Ssh, SshAddress
from targets.transport import Local, Recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from targets.transport import CommandResult, Transport

DEFAULT = "lab/950"
EXPECTED = "lab/CTID, local/CTID or [USER@]HOST[:PORT]/CTID, for example root@pve1/950"
#: A target file is written by hand (bytes).
_LONGEST = 1 << 20
_FORM = re.compile(ssh_config.FORM + r"/(?P<ctid>[0-9]+)")
_PLACES = ("lab", "local")
#: What decides which runtime there is: Proxmox has LXC's own tools, too, so pct comes first.
_PROGRAMS = {"auto": ("pct", "lxc-start"), "pct": ("pct",), "lxc": ("lxc-start",)}


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node, the container on it that is asked about, and how things are done there.

    Attributes:
        host: host name or alias of ``~/.ssh/config``; or ``lab``, or ``local``.
        ctid: id of the container.
        port: port of the SSH server. Without it, ``~/.ssh/config`` decides.
        user: user to log in as. Without it, ``~/.ssh/config`` decides, then root.
        identity: file of the private key, on the machine where you type.
        jump: jump hosts, ``[USER@]HOST[:PORT]``, separated by commas.
        sudo: run every command on the node with ``sudo -n``.
        runtime: what manages the containers: ``pct``, ``lxc``, or ``auto``, which prefers ``pct``.
        reserved: ids of containers that may be created and destroyed; never ``ctid``.
        template: volume of the template that ``pct create`` makes these containers from.
        storage: storage for their root.
        bridge: bridge of their network card.
        create: command line that creates a container instead of ``pct create``, stopped and
            unprivileged, with ``{ctid}`` in place of its id. Without ``pct`` it is required.
        provision: command line that provisions a container, with ``{ctid}`` in place of its id.
            Without it: ``phoenix create {ctid}`` if the node has phoenix, else ``create`` and
            the plan.
        repository: directory of phoenix's checkout on the node.
        backups: directory of the backups. Without it, ``pvesm`` names the storages.
        backup_age: highest age of a backup (hours).
        audit: where denials are read: ``auditd``, ``kernel``, or ``auto``, which looks.
        image: image that Docker runs to show that it works; it must greet as hello-world does.
        registry: what precedes the image's name, as ``registry.example:5000/library``. Without it,
            Docker's own registry or its mirror.
        digest: digest that this image must have, ``sha256:…`` as ``docker pull`` shows it.
            Without it, any image of that name counts.
    """

    host: str
    ctid: int
    port: int | None = None
    user: str | None = None
    identity: str = ""
    jump: str = ""
    sudo: bool = False
    runtime: Literal["auto", "pct", "lxc"] = "auto"
    reserved: tuple[int, ...] = ()
    template: str = ""
    storage: str = "local"
    bridge: str = "vmbr0"
    create: str = ""
    provision: str = ""
    repository: str = "/usr/local/phoenix_hypervisor"
    backups: str = ""
    backup_age: float = 24.0
    audit: Literal["auto", "auditd", "kernel"] = "auto"
    image: str = "hello-world"
    registry: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        """Check what the types do not; raises ValueError with the key and what was expected."""
        for key, wrong in target_keys.wrong(self):
            raise ValueError(f"{key}: {wrong}")

    @property
    def place(self) -> str:
        """``lab``, ``local``, or nothing for a node that SSH reaches."""
        return self.host if self.host in _PLACES else ""

    @property
    def address(self) -> SshAddress | None:
        """Where SSH reaches the node; None for the lab and this machine."""
        if self.place:
            return None
        identity = Path(self.identity).expanduser() if self.identity else None
        return SshAddress(self.host, self.port, self.user, identity, jump=self.jump)

    def __str__(self) -> str:
        """The form in which it is given on a command line."""
        return f"{self.address or self.host}/{self.ctid}"

    @property
    def reference(self) -> str:
        """What Docker pulls and runs to show that it works."""
        return f"{self.registry}/{self.image}" if self.registry else self.image

    def provisioning(self, node: Transport) -> list[str]:
        """Return the argv that provisions the container; empty: it is ours to create.

        Args:
            node: the target's node, which is asked for ``phoenix`` if nothing is configured.
        """
        if self.provision:
            return _filled(self.provision, self.ctid)
        if node.run(["sh", "-c", "command -v phoenix"]).ok:
            return ["phoenix", "create", str(self.ctid)]
        return []

    def creation(
        self, ctid: int, *, hostname: str = "docker", size: int = 8, features: Iterable[str] = ()
    ) -> list[str]:
        """Return the argv that creates an unprivileged container: the target's own, or pct's.

        Args:
            ctid: the target's own container, or a reserved one; no other is ever created.
            hostname: its name.
            size: of its root (GiB).
            features: Proxmox's, each one switched on.

        Raises:
            UsageError: another container is asked for.
            FactError: the target says neither how nor from which template.
        """
        if ctid not in {self.ctid, *self.reserved}:
            raise UsageError(
                f"container {ctid} is neither the target's own nor reserved: it is not created"
            )
        if self.create:
            return _filled(self.create, ctid)
        if not self.template:
            raise FactError(
                f"nothing says what container {ctid} on {self.host} is made from: put it into the "
                "target file: template = 'local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst' "
                "(pveam list local shows which there are), or create = 'COMMAND {ctid}'"
            )
        return [
            *("pct", "create", str(ctid), self.template, "--hostname", hostname),
            *("--rootfs", f"{self.storage}:{size}", "--memory", "2048"),
            *("--net0", f"name=eth0,bridge={self.bridge},ip=dhcp", "--unprivileged", "1"),
            *("--features", ",".join(f"{feature}=1" for feature in features)),
        ]


def _filled(line: str, ctid: int) -> list[str]:
    return [word.replace("{ctid}", str(ctid)) for word in shlex.split(line)]


def parse(text: str) -> Target:
    """Read a target as a user writes it; raises UsageError saying what was expected."""
    match = _FORM.fullmatch(text)
    if match is None or (match["host"] in _PLACES and (match["user"] or match["port"])):
        raise UsageError(
            f"target {text!r}: expected {EXPECTED}, or a name in a target file (--target-file)"
        )
    host, ctid = match["host"].strip("[]"), int(match["ctid"])
    try:
        if host == "lab":
            return _of_the_lab(ctid)
        return Target(host, ctid, int(match["port"]) if match["port"] else None, match["user"])
    except ValueError as error:
        raise UsageError(f"target {text!r}: {error}") from error


def _of_the_lab(ctid: int) -> Target:
    return Target(
        "lab",
        ctid,
        reserved=tuple(other for other in (951, 952) if other != ctid),
        template="local:vztmpl/debian-trixie-docker_amd64.tar.zst",
        bridge="lxcbr0",
    )


def find(text: str | None, file: Path | None = None) -> Target:
    """Return the target that is meant.

    Args:
        text: a name in the file, or, without one, a target as :func:`parse` reads it; None: the
            lab.
        file: a target file (TOML), one table a target; see :class:`Target` for the keys.

    Raises:
        UsageError: no such target, or the file does not say what it must: with the file, the
            key, and what was expected.
    """
    if file is None:
        return parse(DEFAULT if text is None else text)
    tables = _tables(file)
    if text in tables:
        return _read(f"{file}: {text}", tables[text])
    if text and "/" in text:  # of which the file says nothing: it would be left unread in silence
        raise UsageError(
            f"--target-file is given, but {text!r} is not one of its names: "
            f"{', '.join(tables) or 'none'}"
        )
    said = f"no target is called {text!r}" if text else "say which target is meant (--target NAME)"
    raise UsageError(f"{file}: {said}; it has: {', '.join(tables) or 'none'}")


def _tables(file: Path) -> dict[str, dict[str, object]]:
    try:
        tables = tomllib.loads(_content(file).decode())
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # TOML's own error and Unicode's
        raise UsageError(f"{file}: is not TOML: {error}") from error
    except RecursionError:
        raise UsageError(f"{file}: its tables are nested too deep; write [NAME] alone") from None
    for key, value in tables.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            raise UsageError(
                f"{file}: [[{key}]] is a list of tables; a target is one table: write [{key}]"
            )
        if not isinstance(value, dict):
            raise UsageError(
                f"{file}: {key}: stands outside of a table; write it below a line [NAME], which "
                "names the target that it is said of"
            )
    return tables


def _content(file: Path) -> bytes:
    """Read a regular file of a bearable size; anything else may never end."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{file}: is not a regular file; a target file is one")
        content = opened.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise UsageError(
            f"{file}: is too large ({found.st_size} bytes); a target file has at most "
            f"{_LONGEST >> 20} MiB"
        )
    return content


def _read(where: str, table: dict[str, object]) -> Target:
    if said := target_keys.unknown(table, Target):
        raise UsageError(f"{where}: {said}")
    try:
        found = msgspec.convert(table, Target)
    except msgspec.ValidationError as error:
        said, _, path = str(error).partition(" - at `$")
        if isinstance(error.__cause__, ValueError):  # our own, which begins with the key
            raise UsageError(f"{where}.{said}") from error
        path = path.removesuffix("`")
        raise UsageError(
            f"{where}{path}: {said}{target_keys.advice(said, path, Target)}"
        ) from error
    if said := target_keys.no_identity(found.identity):
        raise UsageError(f"{where}.identity: {said}")
    return found


@contextmanager
def opened(
    target: Target,
    *,
    listener: Callable[[CommandResult], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Runtime]:
    """Connect to a target's node and close the connection afterwards.

    Args:
        target: what is asked about; the lab is started if it is not running.
        listener: hears of every command that ran.
        tell: hears one line before anything that takes time.

    Yields:
        The runtime that manages the containers of the node.

    Raises:
        TransportError: the node cannot be reached, does not let us be root, or has no runtime.
    """
    with ExitStack() as stack:
        raw: Transport = Local()
        if target.place != "local":
            name = "the lab's node" if target.place else ""
            raw = stack.enter_context(closing(Ssh(target.address or _lab(tell), name=name)))
        yield runtime_on(raw, target, listener=listener)


def runtime_on(
    raw: Transport, target: Target, *, listener: Callable[[CommandResult], None] = lambda _: None
) -> Runtime:
    """Return the runtime of a target whose node is reached by ``raw``: one round trip.

    Raises:
        TransportError: as :func:`opened`.
    """
    kind = Lxc if target.runtime == "lxc" else Pct
    soon = [
        tuple(_finding(target)),
        question(lambda on: kind(on).state(target.ctid)),
        ("test", "-d", target.repository),
    ]
    return _runtime(Recorded(as_root(raw, sudo=target.sudo, soon=soon), listener), target)


def _lab(tell: Callable[[str], None]) -> SshAddress:
    # Imported here: a real host needs none of the lab's libraries.
    from lab.machine import Lab  # noqa: PLC0415
    from lab.progress import told_to  # noqa: PLC0415

    lab = Lab.open(steps=told_to(tell))
    lab.up(keep=True)  # a running one is asked as it stands, whatever has changed since
    return lab.address


def _finding(target: Target) -> list[str]:
    programs = _PROGRAMS[target.runtime]
    return ["sh", "-c", " || ".join(f"command -v {name}" for name in programs)]


def _runtime(node: Transport, target: Target) -> Runtime:
    """Return ``Pct`` where there is a pct, else ``Lxc``, unless the target says which."""
    programs = _PROGRAMS[target.runtime]
    found = node.run(_finding(target))
    if not found.ok:
        tried = f"no {programs[0]}" if programs[1:] == () else f"neither {' nor '.join(programs)}"
        raise TransportError(
            f"{tried} was found on {node.machine}: is it the machine that manages the containers? "
            f"(runtime is {target.runtime!r})"
        )
    return Pct(node) if found.text.strip().endswith("/pct") else Lxc(node)
