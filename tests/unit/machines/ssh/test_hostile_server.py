"""A server that does not follow the protocol before its host key is checked: one line, exit 3."""

import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from docker_lxc_gate.errors import Unreachable
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.ssh.connection import Ssh
from tests.doubles.naming import naming
from tests.doubles.programs.processes import until
from tests.doubles.programs.sshd import ME

BANNER = b"SSH-2.0-OpenSSH_9.9\r\n"
_DISCONNECT, _KEXINIT, _NEWKEYS, _REPLY = 1, 20, 21, 31
_ALGORITHMS = (
    *(b"ecdh-sha2-nistp256", b"ssh-ed25519", b"aes128-ctr", b"aes128-ctr"),
    *(b"hmac-sha2-256", b"hmac-sha2-256", b"none", b"none", b"", b""),
)


def string(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def packet(payload: bytes) -> bytes:
    """A packet before any key is agreed on. Source: RFC 4253, section 6."""
    padding = 8 - (5 + len(payload)) % 8 + 8
    return struct.pack(">IB", 1 + len(payload) + padding, padding) + payload + bytes(padding)


def kexinit(algorithms: tuple[bytes, ...] = _ALGORITHMS) -> bytes:
    return packet(bytes([_KEXINIT]) + bytes(16) + b"".join(map(string, algorithms)) + bytes(5))


def reply(point: bytes, key: bytes = b"key") -> bytes:
    return packet(bytes([_REPLY]) + string(key) + string(point) + string(b"signature"))


CASES = {
    "banner that is no UTF-8": b"SSH-2.0-\xff\xfe\r\n",
    "packet without a type": BANNER + packet(b""),
    "packet of an impossible length": BANNER + struct.pack(">I", 1 << 31) + bytes(64),
    "algorithms that are no UTF-8": BANNER + kexinit((b"\xff\xfe", *_ALGORITHMS[1:])),
    "no algorithm": BANNER + kexinit((b"",) * 10),
    "point that is not on the curve": BANNER + kexinit() + reply(b"\x04" + b"\x07" * 64),
    "host key that is none": BANNER + kexinit() + reply(b"\x04" + b"\xff" * 64, b"\xff" * 9),
    "keys before they are agreed on": BANNER + packet(bytes([_NEWKEYS])),
    "farewell that is no UTF-8": BANNER + packet(bytes([_DISCONNECT]) + bytes(4) + string(b"\xff")),
}


@contextmanager
def server(says: bytes, again: bytes = b"", *, ends: bool = False) -> Iterator[int]:
    """A listener that says this, and then more again and again, ends or listens; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with suppress(OSError), listener.accept()[0] as one:
                one.sendall(says)
                while again:
                    one.sendall(again)
                    time.sleep(0.1)
                while not ends and one.recv(1 << 16):  # until the other side gives up
                    pass

        threading.Thread(target=answer, daemon=True).start()
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize("says", CASES.values(), ids=CASES.keys())
def test_server_that_breaks_the_protocol_is_one_error(home: Path, says: bytes) -> None:
    assert home.is_dir()
    with server(says) as port, pytest.raises(Unreachable) as raised:
        Ssh(SshAddress("127.0.0.1", port, ME), connect_timeout=2).run(["true"])
    first, *more = str(raised.value).splitlines()
    assert first.startswith(f"cannot reach {ME}@127.0.0.1:{port} by SSH: ")
    assert all(line.startswith("try it by hand: ssh ") for line in more)
    assert raised.value.exit_code == 3


#: Which of the two comes first is the kernel's to say: our own greeting is never read.
ENDED = "(the other side closed the connection|Connection reset by peer)"


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"", ENDED),
        (b"HTTP/1.1 400 Bad\r\n" * 200, 'Indecipherable protocol version "HTTP/1.1 400 Bad"'),
        (b"\x1b[2Jevil" * 100 + b"\n", 'Indecipherable protocol version "evil.*'),
    ],
    ids=["closes", "web", "evil"],
)
def test_server_that_does_not_speak_ssh_is_named(home: Path, says: bytes, why: str) -> None:
    with (
        server(says, says if b"evil" in says else b"", ends=True) as port,
        pytest.raises(Unreachable) as raised,
    ):
        Ssh(SshAddress("127.0.0.1", port, ME)).run(["true"])
    said = str(raised.value)
    assert re.fullmatch(
        rf"cannot reach {ME}@127\.0\.0\.1:{port} by SSH: it answers, but not as an SSH server "
        rf"\({why}\)\n"
        rf"try it by hand: ssh -o BatchMode=yes -p {port} {ME}@127\.0\.0\.1 true",
        said,
    )
    assert (len(said) < 300, "Errno" in said, "\x1b" in said) == (True, False, False)


@pytest.mark.parametrize(
    ("says", "again"),
    [(b"", b""), (BANNER, b""), (b"", b"\x1b[2Jevil" * 100), (b"", b"S")],
    ids=["silent", "mute", "endless", "slow"],
)
def test_server_that_never_gets_to_the_point_is_given_up_and_leaves_nothing_running(
    home: Path, says: bytes, again: bytes
) -> None:
    before, begun = threading.active_count(), time.monotonic()
    with (
        server(says, again) as port,
        naming(Unreachable, f"127.0.0.1:{port}", "did not answer as an SSH server within 1 s"),
    ):
        Ssh(SshAddress("127.0.0.1", port, ME), connect_timeout=1).run(["true"])
    assert time.monotonic() - begun < 10
    until(lambda: threading.active_count() <= before, 10)
