"""The way to a machine: what the user's ``~/.ssh/config`` says of it, and its jump hosts.

Source: ssh_config(5). Honoured: ``Host`` and ``Match``, ``HostName``, ``User``, ``Port``,
``IdentityFile``, ``ProxyJump``, ``UserKnownHostsFile``, ``GlobalKnownHostsFile``, ``Include``. What
the target states wins. ``ProxyCommand`` is refused: without it another machine might answer.
``StrictHostKeyChecking`` is not read: a host key is never accepted unseen.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko

from targets.errors import TransportError
from targets.ssh.address import in_brackets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from targets.ssh.address import SshAddress

#: A machine as ssh's -J takes it; an IPv6 address stands in brackets, with its interface.
FORM = (
    r"(?:(?P<user>[^@/\s]+)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?\]|[^@:/\s\[\]]+)"
    r"(?::(?P<port>[0-9]+))?"
)
_CONFIG = "~/.ssh/config"
#: Of these the one that is said first counts.
_COMPETING = ("proxycommand", "proxyjump")
#: Where those are that look_for_keys has paramiko look for.
_OWN_KEYS = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")
#: By option, the files that it names if nobody says so.
_KNOWN_HOSTS = {
    "userknownhostsfile": "~/.ssh/known_hosts ~/.ssh/known_hosts2",
    "globalknownhostsfile": "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",
}


@dataclass(frozen=True)
class Hop:
    """One machine on the way, with nothing left open.

    ``known_hosts`` are the files its host key is looked up in; with ``own_keys`` the user's
    agent and the keys in ``~/.ssh`` are offered after the ``identities``.
    """

    host: str
    port: int
    user: str
    identities: tuple[str, ...]
    known_hosts: tuple[str, ...]
    own_keys: bool

    def __str__(self) -> str:
        """``user@host:port``, always with the port."""
        return f"{self.user}@{in_brackets(self.host)}:{self.port}"

    @property
    def offered(self) -> tuple[str, ...]:
        """The files of the keys that are offered, whether they are there or not."""
        own = _OWN_KEYS if self.own_keys else ()
        there = {Path(file).expanduser() for file in self.identities}
        return (*self.identities, *(f for f in own if Path(f).expanduser() not in there))

    @property
    def key_name(self) -> str:
        """What the host key is filed under in a known_hosts file (sshd(8))."""
        return self.host if self.port == paramiko.config.SSH_PORT else f"[{self.host}]:{self.port}"


def route(address: SshAddress) -> list[Hop]:
    """Return the machines to connect to, one through the other; the last is the one meant.

    Args:
        address: where to; with ``only_known`` the user's configuration is not looked at.

    Raises:
        TransportError: the configuration cannot be read, its jumps go in a circle, or it wants a
            ProxyCommand.
    """
    hops: list[Hop] = []
    seen: set[tuple[str, int | None, str | None]] = set()
    while True:
        key = (address.host, address.port, address.user)
        if key in seen:
            raise TransportError(f"{_CONFIG}: the ProxyJump of {address.host} leads back to it")
        seen.add(key)
        options = _options(address)
        if not address.jump and _goes_by(options) == "proxycommand":
            raise TransportError(
                f"{_CONFIG}: the ProxyCommand of {address.host} is not supported here; say "
                "ProxyJump there, or jump in a target file"
            )
        hops.insert(0, _hop(address, options))
        *before, last = (address.jump or str(options.get("proxyjump", "none"))).split(",")
        if last.strip().lower() == "none":
            return hops
        match = re.fullmatch(FORM, last.strip())
        if match is None:
            raise TransportError(
                f"the ProxyJump of {address.host}, {last!r}: expected [USER@]HOST[:PORT]"
            )
        port = int(match["port"]) if match["port"] else None
        address = replace(
            address,
            host=match["host"].strip("[]"),
            port=port,
            user=match["user"],
            identity=None,
            jump=",".join(before),
        )


def _goes_by(options: paramiko.SSHConfigDict) -> str | None:
    """Return which of the two that compete counts: the first that is said, but for "none"."""
    return next((key for key in options if key in _COMPETING and options[key]), None)


def _options(address: SshAddress) -> paramiko.SSHConfigDict:
    path = Path(_CONFIG).expanduser()
    if address.only_known or not path.exists():
        return paramiko.SSHConfigDict()
    try:
        text = "\n".join(_lines(path))
        return paramiko.SSHConfig.from_text(text).lookup(address.host)
    except (paramiko.SSHException, OSError, ValueError) as error:
        raise TransportError(f"{_CONFIG} cannot be read: {error}") from error


def _lines(path: Path, depth: int = 0) -> Iterator[str]:
    """Yield a configuration's lines with each ``Include``, which paramiko passes over, resolved."""
    if depth > 16:  # noqa: PLR2004 - ssh's own limit
        raise ValueError(f"{path}: Include is nested more than 16 deep")
    block = "Host *"
    for line in path.read_text().splitlines():
        match = re.match(r"\s*(\w+)(?:\s*=\s*|\s+)(.*)", line)
        keyword = match[1].lower() if match else ""
        if match is None or keyword != "include":
            block = line if keyword in {"host", "match"} else block
            yield line
            continue
        for pattern in shlex.split(match[2]):
            wanted = Path(_CONFIG).expanduser().parent / Path(pattern).expanduser()
            for file in sorted(Path("/").glob(str(wanted.relative_to("/")))):
                yield from _lines(file, depth + 1)
        yield block  # what follows belongs to the block that the Include stands in


def _hop(address: SshAddress, options: paramiko.SSHConfigDict) -> Hop:
    port = str(options.get("port", paramiko.config.SSH_PORT))
    if not re.fullmatch("[0-9]+", port):
        raise TransportError(f"{_CONFIG}: the Port of {address.host} is {port!r}")
    there = [file for file in options.get("identityfile", []) if Path(file).exists()]  # as ssh does
    identities = [str(address.identity)] if address.identity else there
    files = [str(address.known_hosts)] if address.known_hosts else []
    if not address.only_known:
        for option, default in _KNOWN_HOSTS.items():
            said = str(options.get(option, default))
            files += [file for file in said.split() if file != "none"]
    return Hop(
        host=str(options.get("hostname", address.host)),
        port=address.port or int(port),
        user=address.user or str(options.get("user", "root")),
        identities=tuple(identities),
        known_hosts=tuple(files),
        own_keys=not address.only_known,
    )
