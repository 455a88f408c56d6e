"""A transport over SSH (paramiko): one verified, shared connection a machine."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
import secrets
import shlex
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko

from targets.errors import CommandFailed, LimitExceeded, TransportError, Unreachable
from targets.ssh.known_hosts import KnownHosts
from targets.ssh.ssh_config import in_brackets, route
from targets.transport import (
    HOLD_TIMEOUT,
    RELEASE_TIMEOUT,
    Base,
    CommandResult,
    at_most,
    limit,
    misheard,
    too_late,
    too_much,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.ssh.ssh_config import Hop
    from targets.transport import Hold

# Of an error that it raises, too, paramiko logs the traceback; without this it goes to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_CHUNK = 1 << 16
#: What it says, among others, where nothing comes in time; and where there is no key.
_NO_SESSION, _NO_KEY = "No existing session", "No authentication methods available"
#: What comes before an SSH server's greeting, and with it, is shorter (bytes).
_GREETING = 16 << 10
#: How often an open channel is looked at while nothing arrives (seconds).
_POLL = 0.005
#: How soon a connection that was cut is known to be, where a command has no end (seconds).
_GOING = 0.2
#: How often something is sent while nothing is asked: firewalls drop what is silent (seconds).
_KEEPALIVE = 30


@dataclass(frozen=True)
class SshAddress:
    """Where a machine answers, and how we know that it is the one.

    What is left out is asked of the user's ``~/.ssh/config`` (:mod:`targets.ssh.ssh_config`),
    where ``host`` may be an alias; else the port is 22 and the user root. ``jump`` is a list of
    jump hosts as ssh's -J takes it. ``known_hosts`` is one more file of host keys beside the
    user's own; with ``only_known`` the user's own file, configuration and agent are left out
    (the lab brings its own keys).
    """

    host: str
    port: int | None = None
    user: str | None = None
    identity: Path | None = None
    known_hosts: Path | None = None
    only_known: bool = False
    jump: str = ""

    def __str__(self) -> str:
        """``user@host:port``, as far as it was stated, without the default port."""
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port not in {None, 22} else ""
        return f"{user}{in_brackets(self.host)}{port}"


class _Refuse(paramiko.MissingHostKeyPolicy):
    """An unknown host key is an error that says how to accept it, never a silent yes."""

    def __init__(self, hop: Hop, known: KnownHosts) -> None:
        self._hop, self._known = hop, known

    def missing_host_key(
        self, _client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        _require_not_revoked(self._known, hostname, key)
        kind = key.get_name()
        word = next(word for word in ("ed25519", "ecdsa", "rsa", kind) if word in kind)
        raise TransportError(
            f"the host key of {hostname} is not known: {_fingerprint(key)}\n"
            "compare it on the machine's own console "
            f"(ssh-keygen -lf /etc/ssh/ssh_host_{word}_key.pub); if it is the same, add this line "
            f"to {_first_known_hosts(self._hop)}:\n{hostname} {kind} {key.get_base64()}"
        )


def _require_not_revoked(known: KnownHosts, name: str, key: paramiko.PKey) -> None:
    if where := known.revoked(key):
        raise TransportError(
            f"the host key of {name} is revoked ({where.file}, line {where.line}): "
            f"{_fingerprint(key)}"
        )


def _fingerprint(key: paramiko.PKey) -> str:
    """Return a key's kind and its fingerprint, as ssh-keygen -l says it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def _first_known_hosts(hop: Hop) -> str:
    return hop.known_hosts[0] if hop.known_hosts else "~/.ssh/known_hosts"


class Ssh(Base):
    """One machine over one SSH connection, opened at the first command.

    A command that may have changed something is never resent: after a dropped connection
    the error is raised, and the next command connects anew.
    """

    def __init__(
        self, address: SshAddress, *, name: str = "", connect_timeout: float = 15.0
    ) -> None:
        self.address = address
        self.machine = name or str(address)
        self._connect_timeout = connect_timeout
        self._clients: list[paramiko.SSHClient] = []  # the jump hosts', then the machine's own

    def close(self) -> None:
        """Close the connection; the next command opens a new one."""
        while self._clients:
            self._clients.pop().close()

    def _connected(self) -> paramiko.Transport:
        if self._clients:
            transport = self._clients[-1].get_transport()
            if transport is not None and transport.is_active():
                return transport
        self.close()
        *jumps, last = route(self.address)
        through: paramiko.Transport | None = None
        try:
            for hop in jumps:
                through = self._connect(hop, f"the jump host {hop} to {self.machine}", through)
            via = f" through the jump host {jumps[-1]}" if jumps else ""
            transport = self._connect(last, f"{self.machine}{via}", through)
            self._require_silent(transport, last)
            return transport  # noqa: TRY300 - what follows is of an error
        except TransportError:
            self.close()
            raise

    def _require_silent(self, transport: paramiko.Transport, hop: Hop) -> None:
        """Raise unless a command's output is all that comes back: bash reads .bashrc here, too."""
        word = secrets.token_hex(16)
        argv, timeout = ("echo", word), self._connect_timeout
        shell = f"the login shell of {hop.user} on {self.machine}"
        try:
            channel = self._begun(transport, argv, timeout)
            with at_most(_CHUNK):
                _, out, _ = self._converse(channel, argv, b"", time.monotonic() + timeout, timeout)
        except (TransportError, paramiko.SSHException, OSError, EOFError) as error:
            raise Unreachable(
                f"{shell} does not run the command that it is given: {_said(error)}"
            ) from error
        if out == f"{word}\n".encode():
            return
        shown = _first_line(out)
        if word.encode() not in out:
            raise Unreachable(
                f"{shell} does not run the command that it is given: instead of it came {shown!r}"
            )
        raise Unreachable(
            f"{shell} prints text of its own around each command's output ({shown!r}), so no "
            "answer can be trusted: in its startup files (~/.bashrc, /etc/bash.bashrc) let "
            "interactive shells alone print it, as in: case $- in *i*) neofetch ;; esac"
        )

    def _connect(
        self, hop: Hop, name: str, through: paramiko.Transport | None
    ) -> paramiko.Transport:
        """Connect to one machine, directly or through the one before it, and keep the client."""
        client = paramiko.SSHClient()
        self._clients.append(client)
        exposed = any(map(_exposed, hop.offered))
        known = KnownHosts(hop.known_hosts)
        known.tell(client.get_host_keys())
        client.set_missing_host_key_policy(_Refuse(hop, known))
        try:
            client.connect(
                hop.host,
                port=hop.port,
                username=hop.user,
                key_filename=_usable(hop, exposed=exposed),  # type: ignore[arg-type]  # a list, too
                allow_agent=hop.own_keys,
                look_for_keys=hop.own_keys and not exposed,
                timeout=self._connect_timeout,
                banner_timeout=self._connect_timeout,
                auth_timeout=self._connect_timeout,
                sock=self._greeted(hop, through),  # type: ignore[arg-type]  # what is used of one
            )
        except paramiko.BadHostKeyException as error:
            _require_not_revoked(known, hop.key_name, error.key)
            raise TransportError(
                f"the host key of {name} has CHANGED: somebody may be in between, or the machine "
                f"was installed anew. If you know why: ssh-keygen -R {shlex.quote(hop.key_name)} "
                f"-f {known.file_of(hop.key_name)}"
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Unreachable(self._refusal(error, client, hop, name)) from error
        transport = client.get_transport()
        if transport is None:
            raise TransportError(f"the connection to {name} is gone")
        transport.set_keepalive(_KEEPALIVE)
        return transport

    def _refusal(self, error: Exception, client: paramiko.SSHClient, hop: Hop, name: str) -> str:
        """Return why there is no connection, and what to try."""
        by_hand = f"try it by hand: ssh -o BatchMode=yes -p {hop.port} {hop.user}@{hop.host} true"
        transport = client.get_transport()  # there is none before the connection stands
        login = transport is not None and transport.is_active() and transport.initial_kex_done
        if isinstance(error, paramiko.AuthenticationException) or (
            login and isinstance(error, paramiko.SSHException)  # a key file that it cannot read
        ):
            unusable = [f"\n{why}" for why in map(_unusable, hop.offered) if why]
            why = f"{name} accepts none of the SSH keys offered"
            if _NO_KEY in str(error) or not _refused(error):
                why = f"no SSH key found to offer ({_searched(hop)})"
            said = f"login as {hop.user} on {name} failed: {why}. Password login is not attempted."
            return f"{said}{''.join(unusable)}\n{by_hand}"
        said = f"cannot reach {name} by SSH: "
        # Refused before it stood is another error: what resets, and is no jump host, has answered.
        reset = isinstance(error, ConnectionResetError) and self._clients == [client]
        if isinstance(error, _NoServer) or (reset and transport is None):
            return f"{said}it answers, but not as an SSH server ({_said(error)})\n{by_hand}"
        if transport is not None and _NO_SESSION in str(error):
            silent = (
                f"it greeted as an SSH server, then sent nothing for {self._connect_timeout:g} s"
            )
            return f"{said}{silent}\n{by_hand}"
        return said + _said(error)

    def _greeted(self, hop: Hop, through: paramiko.Transport | None) -> _Greeted:
        """Return a connection whose other side has greeted as an SSH server does."""
        timeout = self._connect_timeout
        where = (hop.host, hop.port)
        stream = (
            self._channel(through, hop) if through else socket.create_connection(where, timeout)
        )
        try:
            return _Greeted(stream, _greeting(stream, timeout))
        except BaseException:
            stream.close()
            raise

    def _channel(self, through: paramiko.Transport, hop: Hop) -> paramiko.Channel:
        here = ("127.0.0.1", 0)  # the origin, which nobody checks (RFC 4254, 7.2)
        return through.open_channel(
            "direct-tcpip", (hop.host, hop.port), here, timeout=self._connect_timeout
        )

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        """See :class:`targets.transport.Transport`."""
        transport = self._connected()
        started, clock = time.time(), time.monotonic()
        try:
            channel = self._begun(transport, argv, timeout)
            code, out, err = self._converse(channel, argv, stdin, clock + timeout, timeout)
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            raise TransportError(
                f"the connection to {self.machine} dropped during {shlex.join(argv)}: "
                f"{_said(error)}; whether it ran is not known"
            ) from error
        except LimitExceeded:
            raise  # its channel is closed; the connection, over which the lock is held, is not
        except TransportError:
            transport.join(_GOING)
            if not transport.is_active():
                self.close()
            raise
        return CommandResult(
            tuple(argv), code, out, err, self.machine, started, time.monotonic() - clock
        )

    def _begun(
        self, transport: paramiko.Transport, argv: Sequence[str], timeout: float
    ) -> paramiko.Channel:
        """Have the server start a command; paramiko itself would wait for its answer for ever."""
        channel = transport.open_session(timeout=self._connect_timeout)
        channel.settimeout(timeout)
        late = threading.Timer(timeout, channel.close)
        late.daemon = True
        late.start()
        try:
            channel.exec_command(shlex.join(argv))
        finally:
            late.cancel()
        return channel

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        """See :class:`targets.transport.Transport`."""
        transport, started, clock = self._connected(), time.time(), time.monotonic()
        end = clock + HOLD_TIMEOUT
        try:
            channel = self._begun(transport, argv, HOLD_TIMEOUT)
            line = bytearray()
            while b"\n" not in line and len(line) < _CHUNK and (more := channel.recv(_CHUNK)):
                line += more
            if line == f"{word}\n".encode():
                return _Held(channel)
            code, out, err = self._converse(channel, argv, b"", end, HOLD_TIMEOUT)
        except TimeoutError as error:
            channel.close()
            raise misheard(self.machine, argv, word) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            raise TransportError(
                f"the connection to {self.machine} dropped during {shlex.join(argv)}: "
                f"{_said(error)}"
            ) from error
        if b"\n" in line:
            raise misheard(self.machine, argv, word, bytes(line))
        seconds = time.monotonic() - clock
        raise CommandFailed(
            CommandResult(tuple(argv), code, bytes(line) + out, err, self.machine, started, seconds)
        )

    def _converse(
        self,
        channel: paramiko.Channel,
        argv: Sequence[str],
        stdin: bytes,
        deadline: float,
        timeout: float,
    ) -> tuple[int, bytes, bytes]:
        """Feed stdin and read both streams at once: reading one to its end stalls the other."""
        out, err, rest = bytearray(), bytearray(), memoryview(stdin)  # sliced without copying
        most = limit()
        channel.settimeout(timeout)
        if not rest:
            channel.shutdown_write()
        while not channel.closed:
            if time.monotonic() > deadline:
                channel.close()
                raise too_late(self.machine, argv, timeout)
            if rest and channel.send_ready():
                rest = rest[channel.send(bytes(rest[:_CHUNK])) :]
                if not rest:
                    channel.shutdown_write()
            elif _drain(channel, out, err):
                self._require_short(channel, argv, most, out, err)
            elif channel.exit_status_ready() and channel.eof_received:
                break
            else:
                time.sleep(_POLL)
        while _drain(channel, out, err):  # what came with the very last packet
            self._require_short(channel, argv, most, out, err)
        code = channel.recv_exit_status() if channel.exit_status_ready() else -1
        channel.close()
        if code < 0:
            raise TransportError(
                f"on {self.machine}: {shlex.join(argv)} ended without an exit status "
                "(killed by a signal, or the connection was cut): "
                "whether it did its work is not known"
            )
        return code, bytes(out), bytes(err)

    def _require_short(
        self, channel: paramiko.Channel, argv: Sequence[str], most: int, *said: bytearray
    ) -> None:
        """Raise if an output is too long; what goes on printing is ended by SIGPIPE."""
        if max(map(len, said)) > most:
            channel.close()
            raise too_much(self.machine, argv, most)


class _NoServer(OSError):
    """What answers does not greet as an SSH server does; says how."""


class _Greeted:
    """A connection of which the beginning was read already, and is read again first."""

    def __init__(self, stream: socket.socket | paramiko.Channel, begun: bytes) -> None:
        self._stream, self._begun = stream, begun

    def recv(self, size: int) -> bytes:
        if not self._begun:
            return self._stream.recv(size)
        first, self._begun = self._begun[:size], self._begun[size:]
        return first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _greeting(stream: socket.socket | paramiko.Channel, patience: float) -> bytes:
    """Read until a whole line begins as RFC 4253 has it (4.2); paramiko would read for ever."""
    end, said = time.monotonic() + patience, bytearray()
    while not any(line.startswith(b"SSH-") for line in said.split(b"\n")[:-1]):
        first = f"; it begins with {_first_line(bytes(said))!r}" if said else ""
        if len(said) > _GREETING:
            raise _NoServer(f"it sent {len(said)} bytes and no greeting{first}")
        try:
            stream.settimeout(max(0.001, end - time.monotonic()))
            chunk = stream.recv(_GREETING)
        except TimeoutError as error:
            what = "no greeting" if said else "nothing"
            raise _NoServer(f"it said {what} for {patience:g} s{first}") from error
        except OSError as error:
            raise _NoServer(f"{_said(error)}{first}") from error
        if not chunk:
            raise _NoServer(f"the other side closed the connection{first}")
        said += chunk
    return bytes(said)


class _Held:
    """A held command over SSH: the server ends its input when the connection is gone."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def alive(self) -> bool:
        transport = self._channel.get_transport()
        ended = self._channel.closed or self._channel.exit_status_ready()
        return not ended and transport is not None and transport.is_active()

    def release(self) -> None:
        if self.alive():
            self._channel.shutdown_write()
            self._channel.status_event.wait(RELEASE_TIMEOUT)
        self._channel.close()


def _first_line(said: bytes) -> str:
    """Return what a reader knows it by: the first line that holds more than a terminal's codes."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode(errors="replace"))
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:80]


def _refused(error: Exception) -> bool:
    """Whether the server said no; else no key was there that could be read."""
    kinds = paramiko.AuthenticationException, paramiko.PasswordRequiredException
    return isinstance(error, kinds[0]) and not isinstance(error, kinds[1])


def _exposed(identity: str) -> bool:
    """Whether others may read a key's file, for which OpenSSH does not offer it."""
    try:
        found = Path(identity).expanduser().stat()
    except (OSError, RuntimeError):  # the latter: ~somebody who is not there
        return False
    return found.st_uid == os.getuid() and bool(found.st_mode & 0o077)


def _usable(hop: Hop, *, exposed: bool) -> list[str]:
    """Return the files of the keys to offer; the user's own among them if paramiko may not look."""
    own = [file for file in hop.offered if Path(file).expanduser().is_file()] if exposed else []
    return [
        str(Path(file).expanduser())
        for file in dict.fromkeys([*hop.identities, *own])
        if not _exposed(file)
    ]


def _searched(hop: Hop) -> str:
    """Return where no key was found."""
    stated = [f"none in {file}" for file in hop.identities]
    if not hop.own_keys:
        return ", ".join(stated) or "none was named"
    agent = "none in the agent" if os.environ.get("SSH_AUTH_SOCK") else "no agent"
    return ", ".join([*stated, agent, "none in ~/.ssh"])


def _unusable(identity: str) -> str:
    """Return why a key's file was not offered; empty: it was, or is not there."""
    try:
        paramiko.PKey.from_path(Path(identity).expanduser())
    except TypeError:  # that is how it says so
        return (
            f"{identity} has a passphrase, which nobody is asked for here: unless the agent has "
            f"the key, ssh-add {identity}"
        )
    except FileNotFoundError:
        return ""
    except Exception:  # noqa: BLE001 - paramiko's, cryptography's, of kinds that are not told
        return f"{identity} is no private key that can be used here"
    if _exposed(identity):
        mode = Path(identity).expanduser().stat().st_mode & 0o7777
        return (
            f"{identity} was not offered: its mode is {mode:04o}, so others may read it (OpenSSH "
            f"refuses it, too): chmod 600 {identity}"
        )
    return ""


def _said(error: BaseException) -> str:
    """Return what an error says, without its number."""
    if isinstance(error, EOFError):
        return "the other side closed the connection"
    return re.sub(r"\[Errno \S+\] ", "", str(error)) or type(error).__name__


def _drain(channel: paramiko.Channel, out: bytearray, err: bytearray) -> bool:
    """Move what has arrived into the buffers; say whether anything had."""
    before = len(out) + len(err)
    if channel.recv_ready():
        out += channel.recv(_CHUNK)
    if channel.recv_stderr_ready():
        err += channel.recv_stderr(_CHUNK)
    return len(out) + len(err) > before


def free_port() -> int:
    """Return a loopback TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
