"""A server that does not follow the protocol before its host key is checked: one line, exit 3."""

import os
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from docker_lxc_gate.errors import Unreachable
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.ssh.connection import Ssh
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


@pytest.mark.parametrize("says", CASES.values(), ids=CASES.keys())
def test_server_that_breaks_the_protocol_is_one_error(home: Path, says: bytes) -> None:
    assert home.is_dir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])

        def answer() -> None:
            with suppress(OSError), listener.accept()[0] as one:
                one.sendall(says)
                while one.recv(1 << 16):  # until the other side gives up
                    pass

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(Unreachable) as raised:
            Ssh(SshAddress("127.0.0.1", port, ME), connect_timeout=2).run(["true"])
    first, *more = str(raised.value).splitlines()
    assert first.startswith(f"cannot reach {ME}@127.0.0.1:{port} by SSH: ")
    assert all(line.startswith("try it by hand: ssh ") for line in more)
    assert raised.value.exit_code == 3


def test_names_that_are_no_utf8_reach_a_command_and_come_back(ssh: Ssh, tmp_path: Path) -> None:
    name = os.fsdecode(f"{tmp_path}/".encode() + b"a \xff\xe9")
    assert ssh.run(["sh", "-c", 'cat >"$1"', "put", name], stdin=b"\xff\n").ok
    assert os.fsencode(next(tmp_path.glob("a *")).name) == b"a \xff\xe9"
    assert ssh.run(["printf", "%s", name]).stdout == os.fsencode(name)
    assert ssh.read(name) == b"\xff\n"
