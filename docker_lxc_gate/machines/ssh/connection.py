"""A transport over SSH (paramiko): one verified, shared connection for each machine."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import paramiko
from typing_extensions import override

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import Dropped, TransportError, Unreachable
from docker_lxc_gate.machines import process
from docker_lxc_gate.machines.child import RELEASE_TIMEOUT, Late, TooMuch
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.ssh.identity import agent_answers, is_exposed, searched, why_unusable
from docker_lxc_gate.machines.ssh.known_hosts import KnownHosts, fingerprint
from docker_lxc_gate.machines.ssh.proxy import Proxy
from docker_lxc_gate.machines.ssh.ssh_config import Route, route
from docker_lxc_gate.machines.transport import Machine
from docker_lxc_gate.printable import command

if TYPE_CHECKING:
    from docker_lxc_gate.machines.child import Answer, Child, Until

# paramiko also logs the traceback of an error that it raises; without a handler, to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_CHUNK = 1 << 16
#: paramiko's messages, among others, for a timeout and for a missing key.
_NO_SESSION, _NO_KEY = "No existing session", "No authentication methods available"
#: How often an idle channel is polled (seconds).
_POLL = 0.001
#: How long a refused session is asked for again, and how often (seconds).
_COUNTED, _AGAIN = 3.0, 0.05
#: How long to wait for the news that a connection was cut (seconds).
_GOING = 0.2
#: The interval of keepalives: firewalls drop silent connections (seconds).
_KEEPALIVE = 30
#: What paramiko raises when a connection is cut.
_LOST = (paramiko.SSHException, OSError, EOFError)
#: How long after a command's deadline its connection is cut, if the server takes nothing (seconds).
_GRACE = 5.0


class Ssh(Machine):
    """One machine over one SSH connection, opened at the first command.

    A command that may have changed something is never sent again: after a dropped connection
    the error is raised, and the next command connects again.
    """

    def __init__(
        self, address: SshAddress, *, name: str = "", connect_timeout: float = 15.0
    ) -> None:
        super().__init__()
        self.address = address
        self.machine = name or str(address)
        self._connect_timeout = connect_timeout
        self._client = paramiko.SSHClient()  # a new one for each connection
        self._proxy: Proxy | None = None

    @property
    @override
    def host_key(self) -> str:
        transport = self._client.get_transport()
        if transport is None or not transport.is_active():
            return ""
        return fingerprint(transport.get_remote_server_key())

    @override
    def close(self) -> None:
        """Close the connection; the next command opens a new one."""
        self._shells.clear()
        self._client.close()
        if self._proxy:
            self._proxy.close()
            self._proxy = None

    def _connected(self) -> paramiko.Transport:
        transport = self._client.get_transport()
        if transport is not None and transport.is_active():
            return transport
        self.close()
        way = route(self.address)
        try:
            transport = self._connect(way)
            self._require_silent(transport, way)
        except BaseException:
            self.close()
            raise
        return transport

    def _require_silent(self, transport: paramiko.Transport, way: Route) -> None:
        """Raise if the login shell adds output to a command's: bash reads .bashrc here, too."""
        word = secrets.token_hex(16)
        argv, timeout = ("echo", word), self._connect_timeout
        shell = f"the login shell of {way.user} on {self.machine}"
        try:
            echo = _Command(self._begun(transport, argv, timeout), self.machine, argv)
            _, out, _ = echo.converse(b"", time.monotonic() + timeout, _CHUNK)
        except Late as error:
            raise Unreachable(f"{shell} did not run echo within {timeout:g} s") from error
        except (TransportError, TooMuch, *_LOST) as error:
            raise Unreachable(
                f"{shell} does not run the command that it is given: {_words_of(error)}"
            ) from error
        if out == f"{word}\n".encode():
            return
        shown = _first_line(out.decode(errors="replace"))
        if word.encode() not in out:
            raise Unreachable(
                f"{shell} does not run the command that it is given: it printed {shown!r} instead"
            )
        raise Unreachable(
            f"{shell} prints text of its own around each command's output ({shown!r}), so no "
            "answer can be trusted: in its startup files (~/.bashrc, /etc/bash.bashrc) let "
            "interactive shells alone print it, as in: case $- in *i*) neofetch ;; esac"
        )

    def _connect(self, way: Route) -> paramiko.Transport:
        name = f"{self.machine} through {way.via}" if way.via else self.machine
        known = KnownHosts(way, name)
        keys = [file for file in way.identities if not is_exposed(file)]
        self._client = client = paramiko.SSHClient()
        client.set_missing_host_key_policy(known)
        try:
            client.connect(
                way.host,
                username=way.user,
                key_filename=keys,  # type: ignore[arg-type]  # a list, too
                allow_agent=way.own_keys and agent_answers(),
                look_for_keys=False,  # those in ~/.ssh are among them
                timeout=self._connect_timeout,
                banner_timeout=self._connect_timeout,
                auth_timeout=self._connect_timeout,
                sock=self._stream(way),
                transport_factory=partial(_Transport, known),
            )
        except _LOST as error:
            raise Unreachable(self._refusal(error, client, way, name)) from error
        transport = client.get_transport()
        if transport is None:
            raise TransportError(f"the connection to {name} is gone")
        transport.set_keepalive(_KEEPALIVE)
        return transport

    def _stream(self, way: Route) -> socket.socket:
        if way.proxy:
            with process.uninterrupted():
                self._proxy = Proxy(way.proxy)
            return self._proxy.socket
        stream = socket.create_connection((way.host, way.port), self._connect_timeout)
        # A command is several small packets: else one waits 40 ms for the last one's ACK.
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return stream

    def _refusal(self, error: Exception, client: paramiko.SSHClient, way: Route, name: str) -> str:
        """Return the message about a failed connection, with the command to try."""
        jump = f"-J {self.address.jump} " if self.address.jump else ""
        where = f"-p {way.port} {way.user}@{self.address.host}"
        by_hand = f"\ntry it by hand: ssh -o BatchMode=yes {jump}{where} true"
        transport = client.get_transport()  # there is none before the connection stands
        login = transport is not None and transport.is_active() and transport.initial_kex_done
        if isinstance(error, paramiko.AuthenticationException) or (
            login and isinstance(error, paramiko.SSHException)  # a key file that it cannot read
        ):
            unusable = [f"\n{why}" for why in map(why_unusable, way.identities) if why]
            why = f"{name} accepts none of the SSH keys offered"
            if _NO_KEY in str(error) or not _refused(error):
                why = f"no SSH key found to offer ({searched(way)})"
            head = f"login as {way.user} on {name} failed: {why}. Password login is not attempted."
            return f"{head}{''.join(unusable)}{by_hand}"
        head, why = f"cannot reach {name} by SSH: ", _words_of(error)
        if transport is None:
            return head + why
        late = _NO_SESSION in str(error) or isinstance(error.__context__, TimeoutError)
        if late:
            why = f"it did not answer as an SSH server within {self._connect_timeout:g} s"
        elif not transport.remote_version:  # paramiko's words are not about the cause
            cause = _first_line(_words_of(error.__context__ or error))
            why = cause if self._proxy else f"it answers, but not as an SSH server ({cause})"
        client.close()
        if self._proxy and (words := self._proxy.close()):
            why = f"{why}\n  {words}" if late else words
        return f"{head}{why}{by_hand}"

    @override
    @contextmanager
    def _started(self, argv: Sequence[str], timeout: float, child: Child | None) -> Iterator[Child]:
        transport = self._connected()
        try:
            begun = child or _Command(self._begun(transport, argv, timeout), self.machine, argv)
            with self._cut_after(timeout + _GRACE):
                yield begun
        except _LOST as error:
            self.close()
            raise Dropped(
                f"the connection to {self.machine} dropped during {command(argv)}: "
                f"{_words_of(error)}; whether it ran is not known"
            ) from error
        except TransportError as error:
            transport.join(_GOING)
            if not transport.is_active():
                self.close()
                raise Dropped(str(error)) from error
            raise

    def _begun(
        self, transport: paramiko.Transport, argv: Sequence[str], timeout: float
    ) -> paramiko.Channel:
        """Start a command on the server, with a timeout, which paramiko lacks here."""
        channel = self._session(transport)
        channel.settimeout(timeout)
        with self._cut_after(timeout):
            channel.exec_command(os.fsencode(shlex.join(argv)))
        return channel

    @contextmanager
    def _cut_after(self, seconds: float) -> Iterator[None]:
        """Cut the connection after a time: where the server reads nothing, no channel closes."""
        end = time.monotonic() + seconds
        timer = threading.Timer(seconds, self._client.close)
        timer.daemon = True
        timer.start()
        try:
            yield
        except _LOST as error:
            if time.monotonic() < end:
                raise
            raise TimeoutError(f"it took or answered nothing for {seconds:g} s") from error
        finally:
            timer.cancel()

    def _session(self, transport: paramiko.Transport) -> paramiko.Channel:
        """Open a session; sshd counts one that is closed until it has reaped its command."""
        end = time.monotonic() + _COUNTED
        while True:
            try:
                return transport.open_session(timeout=self._connect_timeout)
            except paramiko.ChannelException as error:  # the connection, and the lock, stand
                super().close()  # an open shell has a session of its own
                if time.monotonic() < end:
                    time.sleep(_AGAIN)
                    continue
                raise TransportError(
                    f"{self.machine} opens no further session over this connection, so nothing "
                    f"was run ({_words_of(error)}): set MaxSessions in its sshd_config to 10, the "
                    "default"
                ) from error


class _Transport(paramiko.Transport):
    """A connection that prefers known host keys.

    Its every error is paramiko's, of the socket or of its end.

    paramiko reads a server's bytes in a thread of its own, and raises here what ended it: the bytes
    of a server that does not follow the protocol end it with any error of Python's. None of our
    code runs in that thread, so this hides no bug of ours.
    """

    def __init__(self, known: KnownHosts, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        algorithms = self.get_security_options()
        algorithms.key_types = known.known_first(algorithms.key_types)

    @override
    def get_exception(self) -> Exception | None:
        error = super().get_exception()
        if error is None or isinstance(error, (paramiko.SSHException, OSError, EOFError)):
            return error
        failure = paramiko.SSHException(f"it does not follow the protocol of SSH ({error!r})")
        failure.__cause__ = error
        return failure


class _Command:
    """A command over SSH: the server ends its input when the connection is gone."""

    def __init__(self, channel: paramiko.Channel, machine: str, argv: Sequence[str]) -> None:
        self._channel, self._machine, self._argv = channel, machine, argv

    def exchange(
        self, line: bytes, deadline: float, limit: int, until: Until | None = None
    ) -> tuple[bytes, bytes]:
        """Feed it and read both streams in turn: reading one to its end stalls the other."""
        channel = self._channel
        out, err, rest = bytearray(), bytearray(), memoryview(line)  # sliced without copying
        if not rest and not until:
            channel.shutdown_write()
        while not channel.closed:
            if time.monotonic() > deadline:
                channel.close()
                raise Late
            if rest and channel.send_ready():
                rest = rest[channel.send(bytes(rest[:_CHUNK])) :]
                if not rest and not until:
                    channel.shutdown_write()
            elif self._drained(limit, out, err):
                if until and until(out, err):
                    return bytes(out), bytes(err)
            elif channel.exit_status_ready() and channel.eof_received:
                break
            else:
                time.sleep(_POLL)
        while self._drained(limit, out, err):  # what came with the very last packet
            pass
        self._require_status(shell=until is not None)
        return bytes(out), bytes(err)

    def _require_status(self, *, shell: bool) -> None:
        """Raise if nobody can say how it ended; a shell is opened anew if the connection stands."""
        channel = self._channel
        if channel.exit_status_ready() and channel.recv_exit_status() >= 0:
            return
        transport = channel.get_transport()
        transport.join(_GOING)
        if shell and transport.is_active():
            return
        channel.close()
        raise TransportError(
            f"on {self._machine}: {command(self._argv)} ended without an exit status "
            "(killed by a signal, or the connection was cut): "
            "whether it did its work is not known"
        )

    def converse(self, stdin: bytes, deadline: float, limit: int) -> Answer:
        out, err = self.exchange(stdin, deadline, limit)
        code = self._channel.recv_exit_status()
        self._channel.close()
        return code, out, err

    def _drained(self, limit: int, out: bytearray, err: bytearray) -> bool:
        """Move the available output into the buffers; return whether there was any.

        Raises TooMuch if an output is too long; SIGPIPE then ends the command.
        """
        channel, before = self._channel, len(out) + len(err)
        if channel.recv_ready():
            out += channel.recv(_CHUNK)
        if channel.recv_stderr_ready():
            err += channel.recv_stderr(_CHUNK)
        if max(len(out), len(err)) > limit:
            channel.close()
            raise TooMuch
        return len(out) + len(err) > before

    def hang_up(self) -> None:
        self._channel.close()

    def alive(self) -> bool:
        transport = self._channel.get_transport()
        ended = self._channel.closed or self._channel.exit_status_ready()
        return not ended and transport is not None and transport.is_active()

    def release(self) -> None:
        if self.alive():
            self._channel.shutdown_write()
            self._channel.status_event.wait(RELEASE_TIMEOUT)
        self._channel.close()


def _refused(error: Exception) -> bool:
    """Whether the server refused the keys; else no readable key was found."""
    kinds = paramiko.AuthenticationException, paramiko.PasswordRequiredException
    return isinstance(error, kinds[0]) and not isinstance(error, kinds[1])


def _first_line(text: str) -> str:
    """Return the first line with visible text, without terminal codes."""
    lines = patterns.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).splitlines()
    return next((line.strip() for line in lines if line.strip()), "")[:80]


def _words_of(error: BaseException) -> str:
    """Return an error's message, without its number."""
    if isinstance(error, EOFError):
        return "the other side closed the connection"
    return patterns.sub(r"\[Errno \S+\] ", "", str(error)) or type(error).__name__
