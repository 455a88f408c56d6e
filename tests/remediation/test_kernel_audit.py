"""The kernel's audit, of this machine where it lets us: what is said arrives, and is gone after."""

from __future__ import annotations

import secrets
import socket
import struct
import time
from pathlib import Path

import pytest

from remediation import kernel_audit
from remediation.errors import FactError
from remediation.transport import Local

_NETLINK, _AUDIT, _USER_AVC = 16, 9, 1107


def _say(text: str) -> None:
    """Let the kernel record something, as programs that have something to audit do."""
    said = text.encode() + b"\0"
    with socket.socket(_NETLINK, socket.SOCK_RAW, _AUDIT) as kernel:
        kernel.send(struct.pack("=LHHLL", 16 + len(said), _USER_AVC, 1, 1, 0) + said)


@pytest.fixture
def records() -> kernel_audit.Records:
    try:
        return kernel_audit.Records(Local())
    except FactError as error:
        pytest.skip(f"this machine does not let us read its audit: {error}")


def test_what_the_kernel_says_is_noted_until_the_end(records: kernel_audit.Records) -> None:
    nonce = secrets.token_hex(8)
    _say(f"first {nonce}")
    _say(f"second {nonce}")
    until = time.monotonic() + 10
    while f"second {nonce}" not in records.text() and time.monotonic() < until:
        time.sleep(0.05)
    ours = [line for line in records.text().splitlines() if nonce in line]
    assert ["first" in ours[0], "second" in ours[1]] == [True, True]
    assert kernel_audit.GAP not in records.text()
    assert Path(records._file).stat().st_mode & 0o777 == 0o600
    records.close()
    assert not Path(records._file).exists()
    with pytest.raises(FactError, match="localhost the kernel's audit is not read any more"):
        records.text()


def test_the_kernel_counts_what_it_lost() -> None:
    try:
        assert kernel_audit.lost(Local()) >= 0
    except FactError as error:
        pytest.skip(f"this machine does not tell its audit's status: {error}")
