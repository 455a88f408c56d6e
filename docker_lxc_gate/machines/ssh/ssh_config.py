"""What OpenSSH says of the way to a machine (``ssh -G``).

Source: ssh(1), ssh_config(5). Of the answer these are used: ``hostname``, ``user``, ``port``,
``identityfile``, ``proxycommand``, ``proxyjump``, ``hostkeyalias``, ``userknownhostsfile`` and
``globalknownhostsfile``. What the target states wins: ssh gets it as options.
``stricthostkeychecking`` is not read: a host key is never accepted unseen. A jump host is ssh's own
business, and ssh reads :data:`_FILE` for it, too.

ssh takes the home of passwd(5) for ``~``, and everything else here takes ``$HOME``. They differ
in some CI systems and under some ways to become root. ``$HOME`` counts, so :data:`_FILE` names the
defaults below it, and its Include is resolved by glob(3), which goes by ``$HOME``, too.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.transport import Local

#: A machine as ssh's -J takes it; an IPv6 address stands in brackets, with its interface.
FORM = (
    r"(?:(?P<user>[^@:/\s]+)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?\]|[^@:/\s\[\]]+)"
    r"(?::(?P<port>[0-9]+))?"
)
PORT = 22
_CONFIG = "~/.ssh/config"
#: Our options, the user's own file, and our defaults: of each option the first value counts.
_FILE = Path(__file__).with_name("defaults.conf")
#: The tokens of ProxyCommand and ProxyJump.
_PROXYS = "[%hnpr]"
#: How many jump hosts there may be.
_HOPS = 8


@dataclass(frozen=True)
class Route:
    """Where and how to connect, with nothing left open.

    ``known_hosts`` are the files its host key is looked up in, by its ``alias`` if it has one;
    with ``own_keys`` the keys of the user's agent are offered after the ``identities``. ``proxy``
    is the program that carries the bytes, ``via`` what it is, for messages.
    """

    host: str
    port: int
    user: str
    identities: tuple[str, ...]
    known_hosts: tuple[str, ...]
    own_keys: bool
    alias: str = ""
    via: str = ""
    proxy: tuple[str, ...] = ()

    @property
    def key_name(self) -> str:
        """What the host key is filed under in a known_hosts file (sshd(8)): an alias alone."""
        return self.alias or (self.host if self.port == PORT else f"[{self.host}]:{self.port}")


def route(address: SshAddress) -> Route:
    """Return the way to a machine.

    With ``only_known`` the user's configuration is not looked at. Raises TransportError if ssh is
    not installed or refuses the configuration, or its jump hosts go in a circle.
    """
    known = [str(address.known_hosts)] if address.known_hosts else []
    keys = [str(address.identity)] if address.identity else []
    if address.only_known:
        user, port = address.user or "root", address.port or PORT
        return Route(address.host, port, user, tuple(keys), tuple(known), own_keys=False)
    options = _asked(address)
    jump, tokens = _jump(address, options), _tokens(address, options)
    via, proxy = "", list[str]()
    if jump:
        _require_end(address, jump)
        via = f"the jump host {jump}"
        proxy = _ssh(jump, "-W", f"[{options['hostname']}]:{options['port']}")
    elif not address.jump and (command := options.get("proxycommand")):
        via = "its ProxyCommand"
        shell = os.environ.get("SHELL") or "/bin/sh"
        proxy = [*_env(), shell, "-c", f"exec {_filled(command, tokens, _PROXYS)}"]
    files = [_file(name, tokens) for name in options["identityfile"].splitlines()]
    known += f"{options['userknownhostsfile']} {options['globalknownhostsfile']}".split()
    return Route(
        options["hostname"],
        int(options["port"]),
        options["user"],
        identities=tuple(dict.fromkeys([*keys, *(file for file in files if Path(file).exists())])),
        known_hosts=tuple(file for file in known if file != "none"),
        own_keys=True,
        alias=options.get("hostkeyalias", ""),
        via=via,
        proxy=tuple(proxy),
    )


def _env() -> list[str]:
    """Return what precedes ssh and a ProxyCommand, which are to open no window for a password."""
    return ["env", f"HOME={Path.home()}", "SSH_ASKPASS_REQUIRE=never"]


def _ssh(address: SshAddress, *options: str) -> list[str]:
    """Return the command line of ssh with our file, and with what an address states."""
    argv = [*_env(), "ssh", "-F", str(_FILE), "-T", *options]
    for option, value in (("-l", address.user), ("-p", address.port), ("-J", address.jump)):
        argv += [option, str(value)] if value else []
    return [*argv, "--", address.host]


def _asked(address: SshAddress) -> dict[str, str]:
    """Return what ssh would do for an address, by option; a repeated one has several lines."""
    if shutil.which("ssh") is None:
        raise TransportError(
            f"ssh is not installed on this machine; it reads {_CONFIG}. Run: "
            "apt-get install openssh-client"
        )
    answer = Local().run(_ssh(address, "-G"))
    if not answer.ok:
        *lines, last = answer.stderr.decode(errors="replace").strip().splitlines() or [""]
        why = "\n".join(lines if lines and ": terminating, " in last else [*lines, last])
        raise TransportError(
            f"OpenSSH does not accept the configuration of {address.host} (ssh -G): "
            f"{why or f'it ended with {answer.exit_code}'}"
        )
    options: dict[str, str] = {}
    for line in answer.stdout.decode(errors="surrogateescape").splitlines():
        key, _, value = line.partition(" ")
        options[key] = f"{options[key]}\n{value}" if key in options else value
    return options


def _jump(address: SshAddress, options: Mapping[str, str]) -> SshAddress | None:
    """Return the jump host next to a machine, if there is one; ``jump`` are those before it."""
    jumps = _filled(options.get("proxyjump", ""), _tokens(address, options), _PROXYS)
    before, _, last = patterns.sub(r"\[([0-9.]+)\]", lambda ip: ip[1], jumps).rpartition(",")
    match = patterns.fullmatch(FORM, last)
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else None
    before = before.replace("%", "%%")  # ssh fills in tokens there, too
    return SshAddress(match["host"].strip("[]"), port, match["user"], jump=before)


def _require_end(address: SshAddress, jump: SshAddress | None) -> None:
    """Raise if jump hosts lead back to one another: ssh would start one ssh for each, forever."""
    for _ in range(_HOPS):
        if jump is None:
            return
        jump = _jump(jump, _asked(jump))
    raise TransportError(
        f"{_CONFIG}: the ProxyJump of {address.host} leads through more than {_HOPS} hosts, or in "
        "a circle"
    )


def _tokens(address: SshAddress, options: Mapping[str, str]) -> dict[str, str]:
    """Return the TOKENS of ssh_config(5) that name a file; ssh -G leaves them in many options."""
    here, me = socket.gethostname(), pwd.getpwuid(os.getuid())
    return {
        "%": "%",
        "d": str(Path.home()),
        "h": options["hostname"],
        "i": str(me.pw_uid),
        "L": here.partition(".")[0],
        "l": here,
        "n": address.host,
        "p": options["port"],
        "r": options["user"],
        "u": me.pw_name,
    }


def _filled(text: str, tokens: Mapping[str, str], among: str = ".") -> str:
    return patterns.sub(rf"%({among})", lambda match: tokens.get(match[1], match[0]), text)


def _file(name: str, tokens: Mapping[str, str]) -> str:
    """Return a file's name with its ``~``, its tokens and its ``${VARIABLES}`` filled in."""
    path = _filled(os.path.expanduser(name), tokens)  # noqa: PTH111 - it passes over ~nobody
    there = {**os.environ, "HOME": tokens["d"]}
    return patterns.sub(r"\$\{(\w+)\}", lambda match: there.get(match[1], match[0]), path)
