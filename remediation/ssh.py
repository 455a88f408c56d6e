"""A transport over SSH (paramiko): one verified, shared connection a machine."""

from __future__ import annotations

import base64
import hashlib
import shlex
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import paramiko

from remediation.errors import CommandFailed, TransportError
from remediation.transport import Base, CommandResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from remediation.transport import Hold

_CHUNK = 1 << 16
#: How often an open channel is looked at while nothing arrives (seconds).
_POLL = 0.005
#: How long a held command may take to begin, and to end when it is released (seconds).
_HOLD_TIMEOUT = 60.0


@dataclass(frozen=True)
class SshAddress:
    """Where a machine answers, and how we know that it is the one.

    ``known_hosts`` is one more file of host keys beside the user's own; with ``only_known``
    the user's own file and agent are left out (the lab brings its own keys).
    """

    host: str
    port: int = 22
    user: str = "root"
    identity: Path | None = None
    known_hosts: Path | None = None
    only_known: bool = False

    def __str__(self) -> str:
        """``user@host:port``, without the default port."""
        port = "" if self.port == 22 else f":{self.port}"  # noqa: PLR2004 - ssh's own port
        return f"{self.user}@{self.host}{port}"


class _Refuse(paramiko.MissingHostKeyPolicy):
    """An unknown host key is an error that says how to accept it, never a silent yes."""

    def missing_host_key(
        self, _client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
        host, _, port = hostname.strip("[").partition("]:")
        scan = f"ssh-keyscan -p {port} {host}" if port else f"ssh-keyscan {host}"
        raise TransportError(
            f"the host key of {hostname} is not known: {key.get_name()} SHA256:{digest}\n"
            f"compare it on the machine's own console (ssh-keygen -lf /etc/ssh/ssh_host_*.pub), "
            f"then accept it: {scan} >> ~/.ssh/known_hosts"
        )


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
        self._client: paramiko.SSHClient | None = None

    def close(self) -> None:
        """Close the connection; the next command opens a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> paramiko.SSHClient:
        if self._client is not None:
            transport = self._client.get_transport()
            if transport is not None and transport.is_active():
                return self._client
            self.close()
        address, client = self.address, paramiko.SSHClient()
        if not address.only_known:
            client.load_system_host_keys()
        if address.known_hosts is not None:
            client.load_host_keys(str(address.known_hosts))
        client.set_missing_host_key_policy(_Refuse())
        try:
            client.connect(
                address.host,
                port=address.port,
                username=address.user,
                key_filename=str(address.identity) if address.identity else None,
                allow_agent=not address.only_known,
                look_for_keys=not address.only_known,
                timeout=self._connect_timeout,
                banner_timeout=self._connect_timeout,
                auth_timeout=self._connect_timeout,
            )
        except paramiko.BadHostKeyException as error:
            client.close()
            raise TransportError(
                f"the host key of {self.machine} has CHANGED: somebody may be in between, or the "
                f"machine was installed anew. If you know why: ssh-keygen -R {address.host}"
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            client.close()
            raise TransportError(f"cannot reach {self.machine} by SSH: {error}") from error
        except TransportError:
            client.close()
            raise
        self._client = client
        return client

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        """See :class:`remediation.transport.Transport`."""
        client = self._connected()
        started, clock = time.time(), time.monotonic()
        try:
            transport = client.get_transport()
            if transport is None:
                raise TransportError(f"the connection to {self.machine} is gone")
            channel = transport.open_session(timeout=self._connect_timeout)
            channel.exec_command(shlex.join(argv))
            code, out, err = self._converse(channel, argv, stdin, clock + timeout, timeout)
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            raise TransportError(
                f"the connection to {self.machine} dropped during {shlex.join(argv)}: "
                f"{error or type(error).__name__}; whether it ran is not known"
            ) from error
        return CommandResult(
            tuple(argv), code, out, err, self.machine, started, time.monotonic() - clock
        )

    def hold(self, argv: Sequence[str]) -> Hold:
        """See :class:`remediation.transport.Transport`."""
        client, started, clock = self._connected(), time.time(), time.monotonic()
        try:
            transport = client.get_transport()
            if transport is None:
                raise TransportError(f"the connection to {self.machine} is gone")
            channel = transport.open_session(timeout=self._connect_timeout)
            channel.settimeout(_HOLD_TIMEOUT)
            channel.exec_command(shlex.join(argv))
            line = channel.recv(_CHUNK)
            if line:
                return _Held(channel)
            out, err = bytearray(), bytearray()
            code = channel.recv_exit_status()
            while _drain(channel, out, err):
                pass
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            raise TransportError(
                f"the connection to {self.machine} dropped during {shlex.join(argv)}: "
                f"{error or type(error).__name__}"
            ) from error
        seconds = time.monotonic() - clock
        raise CommandFailed(
            CommandResult(tuple(argv), code, bytes(out), bytes(err), self.machine, started, seconds)
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
        channel.settimeout(timeout)
        if not rest:
            channel.shutdown_write()
        while not channel.closed:
            if rest and channel.send_ready():
                rest = rest[channel.send(bytes(rest[:_CHUNK])) :]
                if not rest:
                    channel.shutdown_write()
            elif _drain(channel, out, err):
                continue
            elif channel.exit_status_ready() and channel.eof_received:
                break
            elif time.monotonic() > deadline:
                channel.close()
                raise TransportError(
                    f"on {self.machine}: {shlex.join(argv)} did not end within {timeout:g} s"
                )
            else:
                time.sleep(_POLL)
        while _drain(channel, out, err):  # what came with the very last packet
            pass
        code = channel.recv_exit_status() if channel.exit_status_ready() else -1
        channel.close()
        if code < 0:
            raise TransportError(
                f"on {self.machine}: {shlex.join(argv)} ended without an exit status "
                "(killed by a signal, or the connection was cut)"
            )
        return code, bytes(out), bytes(err)


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
            self._channel.status_event.wait(_HOLD_TIMEOUT)
        self._channel.close()


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
