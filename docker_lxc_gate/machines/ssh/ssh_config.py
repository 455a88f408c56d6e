"""The way to a machine: what OpenSSH says of it (``ssh -G``), and its jump hosts.

Source: ssh(1), ssh_config(5). Of the answer these are used: ``hostname``, ``user``, ``port``,
``identityfile``, ``proxyjump``, ``hostkeyalias``, ``userknownhostsfile`` and
``globalknownhostsfile``. What the target states wins: ssh gets it as options. ``proxycommand`` is
refused: another machine might answer. ``stricthostkeychecking`` is not read: a host key is never
accepted unseen.

ssh takes the home of passwd(5) for ``~``, and everything else here takes ``$HOME``. They differ
in some CI systems and under some ways to become root. ``$HOME`` counts, so ssh is given
:data:`_FILE`, whose Include is resolved by glob(3), which goes by ``$HOME``, too.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.machines.ssh.address import SshAddress, in_brackets
from docker_lxc_gate.machines.transport import Local

#: A machine as ssh's -J takes it; an IPv6 address stands in brackets, with its interface.
FORM = (
    r"(?:(?P<user>[^@:/\s]+)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?\]|[^@:/\s\[\]]+)"
    r"(?::(?P<port>[0-9]+))?"
)
PORT = 22
_CONFIG = "~/.ssh/config"
#: The user's own file, and after it our defaults: of each option the first value counts.
_FILE = Path(__file__).with_name("defaults.conf")
#: Where those are that look_for_keys has paramiko look for.
_OWN_KEYS = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")


@dataclass(frozen=True)
class Hop:
    """One machine on the way, with nothing left open.

    ``known_hosts`` are the files its host key is looked up in, by its ``alias`` if it has one;
    with ``own_keys`` the user's agent and the keys in ``~/.ssh`` are offered after the
    ``identities``.
    """

    host: str
    port: int
    user: str
    identities: tuple[str, ...]
    known_hosts: tuple[str, ...]
    own_keys: bool
    alias: str = ""

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
    def filed_under(self) -> tuple[str, int]:
        """Host and port by which known_hosts files know it; an alias stands there without port."""
        return (self.alias, PORT) if self.alias else (self.host, self.port)

    @property
    def key_name(self) -> str:
        """What the host key is filed under in a known_hosts file (sshd(8))."""
        host, port = self.filed_under
        return host if port == PORT else f"[{host}]:{port}"


def route(address: SshAddress) -> list[Hop]:
    """Return the machines to connect to, one through the other; the last is the one meant.

    With ``only_known`` the user's configuration is not looked at. Raises TransportError if ssh is
    not installed or refuses the configuration, its jumps go in a circle, or it wants a
    ProxyCommand.
    """
    hops: list[Hop] = []
    seen: set[tuple[str, int | None, str | None]] = set()
    while True:
        key = (address.host, address.port, address.user)
        if key in seen:
            raise TransportError(f"{_CONFIG}: the ProxyJump of {address.host} leads back to it")
        seen.add(key)
        said = {} if address.only_known else _asked(address)
        if "proxycommand" in said and not address.jump:
            raise TransportError(
                f"{_CONFIG}: the ProxyCommand of {address.host} is not supported here; say "
                "ProxyJump there, or jump in a target file"
            )
        *before, last = (address.jump or _jumps(address, said)).split(",")
        jump = patterns.fullmatch(FORM, last)
        if jump is None:
            raise TransportError(
                f"the ProxyJump of {address.host}, {last!r}: expected [USER@]HOST[:PORT]"
            )
        through = "" if last.lower() == "none" else jump["host"].strip("[]")
        hops.insert(0, _hop(address, said, through))
        if not through:
            return hops
        address = replace(
            address,
            host=through,
            port=int(jump["port"]) if jump["port"] else None,
            user=jump["user"],
            identity=None,
            jump=",".join(before),
        )


def _jumps(address: SshAddress, said: Mapping[str, str]) -> str:
    """Return the jump hosts that ssh names, with their tokens filled in: -G leaves them there.

    Without the brackets that ssh puts around an IPv4 address, too.
    """
    hop = _hop(address, {**said, "identityfile": "none"}, "") if said else None
    jumps = said.get("proxyjump", "none")
    if hop is not None:
        tokens = _tokens(hop, address.host, "")
        jumps = patterns.sub(r"%([%hnpr])", lambda found: tokens[found[1]], jumps)
    return patterns.sub(r"\[([0-9.]+)\]", lambda found: found[1], jumps)


def _asked(address: SshAddress) -> dict[str, str]:
    """Return what ssh would do for an address, by option; a repeated one has several lines."""
    if shutil.which("ssh") is None:
        raise TransportError(
            f"ssh is not installed on this machine; it reads {_CONFIG}. Run: "
            "apt-get install openssh-client"
        )
    argv = ["ssh", "-G", "-T", "-F", str(_FILE)]
    for option, value in (("-l", address.user), ("-p", address.port), ("-J", address.jump)):
        argv += [option, str(value)] if value else []
    answer = Local().run([*argv, "--", address.host])
    if not answer.ok:
        *lines, last = answer.stderr.decode(errors="replace").strip().splitlines() or [""]
        why = "\n".join(lines if lines and ": terminating, " in last else [*lines, last])
        raise TransportError(
            f"OpenSSH does not accept the configuration of {address.host} (ssh -G): "
            f"{why or f'it ended with {answer.exit_code}'}"
        )
    said: dict[str, str] = {}
    for line in answer.stdout.decode(errors="surrogateescape").splitlines():
        key, _, value = line.partition(" ")
        said[key] = f"{said[key]}\n{value}" if key in said else value
    return said


def _hop(address: SshAddress, said: Mapping[str, str], through: str) -> Hop:
    files = [str(address.known_hosts)] if address.known_hosts else []
    hop = Hop(
        host=said.get("hostname", address.host),
        port=address.port or int(said.get("port", PORT)),
        user=address.user or said.get("user", "root"),
        identities=(str(address.identity),) if address.identity else (),
        known_hosts=(*files, *(_known(said) if said else ())),
        own_keys=not address.only_known,
        alias=said.get("hostkeyalias", ""),
    )
    if address.identity or address.only_known:
        return hop
    tokens = _tokens(hop, address.host, through)
    named = [_filled(file, tokens) for file in said["identityfile"].splitlines() if file != "none"]
    return replace(hop, identities=tuple(file for file in named if Path(file).exists()))  # as ssh


def _known(said: Mapping[str, str]) -> Iterator[str]:
    """Yield the known_hosts files. ssh has put passwd's home for ``~`` there; $HOME counts."""
    theirs = f"{pwd.getpwuid(os.getuid()).pw_dir.rstrip('/')}/.ssh/"
    users = [
        f"~/.ssh/{file.removeprefix(theirs)}" if file.startswith(theirs) else file
        for file in said["userknownhostsfile"].split()
    ]
    files = [*users, *said["globalknownhostsfile"].split()]
    yield from (file for file in files if file != "none")


def _tokens(hop: Hop, asked: str, through: str) -> dict[str, str]:
    """Return what ssh_config(5), TOKENS, stands for in an IdentityFile; -G leaves them there."""
    here, me = socket.gethostname(), pwd.getpwuid(os.getuid())
    port = str(hop.port)
    connection = f"{here}{hop.host}{port}{hop.user}{through}"
    return {
        "%": "%",
        "C": hashlib.sha1(connection.encode(), usedforsecurity=False).hexdigest(),
        "d": str(Path.home()),
        "h": hop.host,
        "i": str(me.pw_uid),
        "j": through,
        "k": hop.alias or asked,
        "L": here.partition(".")[0],
        "l": here,
        "n": asked,
        "p": port,
        "r": hop.user,
        "u": me.pw_name,
    }


def _filled(file: str, tokens: Mapping[str, str]) -> str:
    """Return a file's name with its ``~``, its tokens and its ``${VARIABLES}`` filled in."""
    path = os.path.expanduser(file)  # noqa: PTH111 - it passes over ~somebody who is not there
    return patterns.sub(
        r"%(.)|\$\{(\w+)\}",
        lambda found: (tokens if found[1] else os.environ).get(found[1] or found[2], found[0]),
        path,
    )
