"""The target: a node, a container on it, and how to provision it.

``lab/950`` is the nested CI VM, ``local/950`` the machine we are on, ``root@pve1:22/950`` a
Proxmox host over SSH. A target file (:mod:`docker_lxc_gate.machines.target_file`) holds further
keys.
"""

from __future__ import annotations

import ipaddress
import math
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError, UsageError
from docker_lxc_gate.machines.ssh import ssh_config
from docker_lxc_gate.machines.ssh.address import SshAddress

DEFAULT = "lab/950"
DEFAULT_PLAN = "docker-in-lxc"
EXPECTED = "lab/CTID, local/CTID or [USER@]HOST[:PORT]/CTID, for example root@pve1/950"
_FORM = patterns.compile(ssh_config.FORM + r"/(?P<ctid>[0-9]+)")
_PLACES = ("lab", "local")
#: Proxmox's own range (pct.adm: ids below 100 are reserved).
_CTIDS = range(100, 1_000_000_000)
_PORTS = range(1, 1 << 16)
#: A word in braces in ``create`` and ``provision``; ``${HOME}`` is for the shell.
_PLACEHOLDER = patterns.compile(r"\$\{\w*\}|(\{\w*\})")
#: An image as Docker names it. Source: github.com/distribution/reference, regexp.go.
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_NAME = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG, _DIGEST = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", r"[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,}"
_IMAGE = patterns.compile(rf"(?:{_DOMAIN}/)?{_NAME}(?::{_TAG})?(?:@{_DIGEST})?")
_HOST = 'a host name, an alias of ~/.ssh/config, "local" or "lab"'
#: Keys that may not be empty, and their meaning.
_NEVER_EMPTY = {
    "host": _HOST,
    "user": "the user to log in as",
    "storage": "a storage of the node (pvesm status)",
    "bridge": "a bridge of the node (ip -br link)",
    "repository": "the directory of phoenix's checkout; without one, leave it out",
    "image": "the image that Docker runs",
    "plan": "a plan's name, or a file (docs/plan.md)",
}


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node, the container under test on it, and how to provision it.

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
        image: image that Docker runs to show that it works; it must greet as hello-world does. Of
            another registry than Docker's: ``registry.example:5000/library/hello-world``.
        digest: digest that this image must have, ``sha256:…`` as ``docker pull`` shows it.
            Without it, any image of that name counts.
        plan: the plan by which it is judged: a shipped one's name, or a TOML file. Without it,
            the node decides.
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
    image: str = "hello-world"
    digest: str = ""
    plan: str | None = None

    def __post_init__(self) -> None:
        """Check the values beyond their types; raises ValueError with the key and a proposal."""
        for key, wrong in _wrong(self):
            raise ValueError(f"{key}: {wrong}")

    @property
    def place(self) -> str:
        """``lab``, ``local``, or nothing for a node that SSH reaches."""
        return self.host if self.host in _PLACES else ""

    @property
    def address(self) -> SshAddress | None:
        """The node's address for SSH; None for the lab and this machine."""
        if self.place:
            return None
        identity = Path(self.identity).expanduser() if self.identity else None
        return SshAddress(self.host, self.port, self.user, identity, jump=self.jump)

    def __str__(self) -> str:
        """Return the target as written on a command line."""
        return f"{self.address or self.host}/{self.ctid}"

    def provisioning(self) -> list[str]:
        """Return the argv of the target's own that provisions the container; empty without one."""
        return _filled(self.provision, self.ctid) if self.provision else []

    def creation(
        self, ctid: int, *, hostname: str = "docker", size: int = 8, features: Iterable[str] = ()
    ) -> list[str]:
        """Return the argv that creates an unprivileged container: the target's own, or pct's.

        ``size`` is that of its root (GiB), ``features`` are those of Proxmox's to switch on. Raises
        FactError if the target has neither ``create`` nor ``template``, and UsageError if ``ctid``
        is neither the target's own nor a reserved one: no other is ever created.
        """
        if ctid not in {self.ctid, *self.reserved}:
            raise UsageError(
                f"container {ctid} is neither the target's own nor reserved, so it is not created"
            )
        if self.create:
            return _filled(self.create, ctid)
        if not self.template:
            raise FactError(
                f"the target has no template for container {ctid} on {self.host}: put it into the "
                "target file: template = 'local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst' "
                "(pveam list local shows all), or create = 'COMMAND {ctid}'"
            )
        return [
            *("pct", "create", str(ctid), self.template, "--hostname", hostname),
            *("--rootfs", f"{self.storage}:{size}", "--memory", "2048"),
            *("--net0", f"name=eth0,bridge={self.bridge},ip=dhcp", "--unprivileged", "1"),
            *("--features", ",".join(f"{feature}=1" for feature in features)),
        ]


def parse(text: str) -> Target:
    """Read a target as a user writes it; raises UsageError with the expected form."""
    match = _FORM.fullmatch(text)
    if match is None or (match["host"] in _PLACES and (match["user"] or match["port"])):
        raise UsageError(
            f"target {text!r}: expected {EXPECTED}, or a name in a target file (--target-file)"
        )
    host, ctid = match["host"].strip("[]"), int(match["ctid"])
    try:
        if host == "lab":
            others = tuple(other for other in (951, 952) if other != ctid)
            template = "local:vztmpl/debian-trixie-docker_amd64.tar.zst"
            return Target(host, ctid, reserved=others, template=template, bridge="lxcbr0")
        return Target(host, ctid, int(match["port"]) if match["port"] else None, match["user"])
    except ValueError as error:
        raise UsageError(f"target {text!r}: {error}") from error


def _filled(line: str, ctid: int) -> list[str]:
    return [word.replace("{ctid}", str(ctid)) for word in shlex.split(line)]


def _wrong(target: Target) -> Iterator[tuple[str, str]]:
    """Yield each key with a wrong value, and what to write instead."""
    for key, meaning in _NEVER_EMPTY.items():
        value: str | None = getattr(target, key)
        if value is not None and not value.strip():
            yield key, f"is empty; expected {meaning}"
    if why := _no_host(target.host):
        yield "host", why
    yield from _wrong_numbers(target)
    yield from _wrong_places(target)
    if target.digest and not patterns.fullmatch(r"sha256:[0-9a-f]{64}", target.digest):
        form = "sha256: and 64 hexadecimal digits, as docker pull shows it"
        yield "digest", f"{target.digest!r} is no digest of an image; expected {form}"
    for jump in target.jump.split(",") if target.jump else []:
        match = patterns.fullmatch(ssh_config.FORM, jump)
        if match is None or int(match["port"] or _PORTS[0]) not in _PORTS:
            yield "jump", f"{jump!r}: expected [USER@]HOST[:PORT], more of them with commas between"
    for key, line in (("create", target.create), ("provision", target.provision)):
        try:
            shlex.split(line)
        except ValueError as error:
            yield key, f"{line!r}: {error}; expected a command line"
        for unknown in {*_PLACEHOLDER.findall(line)} - {"", "{ctid}"}:
            yield key, f"{line!r}: {unknown} is not known; write {{ctid}}"


def _wrong_places(target: Target) -> Iterator[tuple[str, str]]:
    for key, path in (("repository", target.repository), ("backups", target.backups)):
        if path.strip() and not path.startswith("/"):
            yield key, f"{path!r} is not absolute; expected a directory of the node, as /srv/{key}"
    if target.image.strip() and not _IMAGE.fullmatch(target.image):
        yield "image", f"{target.image!r} is no reference of an image; expected NAME[:TAG][@DIGEST]"


def _wrong_numbers(target: Target) -> Iterator[tuple[str, str]]:
    reserved = target.reserved
    for key, ctid in (("ctid", target.ctid), *(("reserved", ctid) for ctid in reserved)):
        if ctid not in _CTIDS:
            yield key, f"{ctid} is no container id; expected {_CTIDS[0]} to {_CTIDS[-1]}"
    if target.ctid in reserved:
        why = f"holds {target.ctid}, the target's own ctid, and reserved containers are destroyed"
        yield "reserved", f"{why}; write others, or none: reserved = []"
    if twice := [ctid for ctid in reserved if reserved.count(ctid) > 1]:
        yield "reserved", f"holds {twice[0]} more than once; write each id once"
    if target.port is not None and target.port not in _PORTS:
        yield "port", f"{target.port} is no port; expected {_PORTS[0]} to {_PORTS[-1]}"
    if not 0 < target.backup_age < math.inf:  # TOML has nan, too
        yield "backup_age", f"is {target.backup_age:g}; expected hours, more than 0"


def _no_host(host: str) -> str:
    """Return why a text is no host name, and what to write instead; empty if it is one."""
    if match := patterns.fullmatch(ssh_config.FORM, host):
        parts = {"user": match["user"] and f'"{match["user"]}"', "port": match["port"]}
        more = [f"{key} = {value}" for key, value in parts.items() if value]
        alone = match["host"].strip("[]")
        write = " and ".join([f'host = "{alone}"', *more])
        return f"{host!r} is more than a host; write {write}" if more or alone != host else ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return f"{host!r} is no host; expected {_HOST}"
    return ""
