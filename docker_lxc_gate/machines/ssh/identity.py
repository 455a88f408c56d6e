"""The user's own keys: the offered ones, and why a key is not offered."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko

if TYPE_CHECKING:
    from docker_lxc_gate.machines.ssh.ssh_config import Route


def is_exposed(identity: str) -> bool:
    """Whether others may read a key's file; OpenSSH does not offer such a key."""
    try:
        status = Path(identity).stat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and bool(status.st_mode & 0o077)


def agent_answers() -> bool:
    """Whether the user has an agent. paramiko leaves the socket of one that is gone to Python."""
    with socket.socket(socket.AF_UNIX) as agent, suppress(OSError):
        agent.connect(os.environ.get("SSH_AUTH_SOCK", ""))
        return True
    return False


def searched(route: Route) -> str:
    """Return the places where no key was found, for a message."""
    stated = [f"none in {file}" for file in route.identities]
    if not route.own_keys:
        return ", ".join(stated) or "none was named"
    agent = "none in the agent" if agent_answers() else "no agent"
    return ", ".join([*stated, agent, "none in ~/.ssh"])


def why_unusable(identity: str) -> str:
    """Return why a key's file was not offered; empty if it was, or does not exist."""
    try:
        paramiko.PKey.from_path(Path(identity))
    except TypeError:  # paramiko's error for a missing passphrase
        return (
            f"{identity} has a passphrase, and there is no prompt for it here: add the key to the "
            f"agent: ssh-add {identity}"
        )
    except FileNotFoundError:
        return ""
    except Exception:  # noqa: BLE001 - paramiko's, cryptography's, of kinds that are not told
        return f"{identity} is not a private key that paramiko can read"
    if is_exposed(identity):
        mode = Path(identity).stat().st_mode & 0o7777
        return (
            f"{identity} was not offered: its mode is {mode:04o}, so others may read it (OpenSSH "
            f"refuses it, too): chmod 600 {identity}"
        )
    return ""
