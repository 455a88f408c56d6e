"""Whose host keys are believed: ssh-keygen finds them in the known_hosts files.

Source: ssh-keygen(1), ``-F``; sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
from typing_extensions import override

from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.machines.transport import Local

if TYPE_CHECKING:
    from docker_lxc_gate.machines.ssh.ssh_config import Route


class KnownHosts(paramiko.MissingHostKeyPolicy):
    """Refuses every host key but a machine's known ones.

    paramiko is told no key, so that it asks here about each: it would compare with a single key of
    a kind. No certificate authority is accepted.
    """

    def __init__(self, route: Route, machine: str) -> None:
        self._name, self._machine = route.key_name, machine
        self._first, *_ = (*route.known_hosts, "~/.ssh/known_hosts")
        #: The file of each key, by its kind and its base64.
        self._known: dict[tuple[str, ...], str] = {}
        self._revoked: dict[tuple[str, ...], str] = {}
        for file in route.known_hosts:
            for marker, key in _found(self._name, file):
                if marker != "@cert-authority":
                    (self._revoked if marker else self._known).setdefault(key, file)

    def known_first(self, algorithms: Sequence[str]) -> list[str]:
        """Return a host key's algorithms, first those of the known keys."""
        kinds = {kind for kind, *_ in self._known}
        rsa = {"rsa-sha2-512", "rsa-sha2-256"} if "ssh-rsa" in kinds else set()
        return sorted(algorithms, key=lambda algorithm: algorithm not in kinds | rsa)

    @override
    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Raise TransportError unless the key is known, and not revoked."""
        kind, text = shown = key.get_name(), key.get_base64()
        if shown in self._revoked:
            raise TransportError(
                f"the host key of {self._name} is revoked ({self._revoked[shown]}): "
                f"{fingerprint(key)}"
            )
        if shown in self._known:
            return
        if self._known:
            file = next(iter(self._known.values()))
            raise TransportError(
                f"the host key of {self._machine} has CHANGED: somebody may be in between, or the "
                "machine was reinstalled. If you know why: "
                f"ssh-keygen -R {shlex.quote(self._name)} -f {shlex.quote(file)}"
            )
        word = next(word for word in ("ed25519", "ecdsa", "rsa", kind) if word in kind)
        raise TransportError(
            f"the host key of {self._name} is not known: {fingerprint(key)}\n"
            "compare it on the machine's own console "
            f"(ssh-keygen -lf /etc/ssh/ssh_host_{word}_key.pub); if it is the same, add this line "
            f"to {self._first}:\n{self._name} {kind} {text}"
        )


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's kind and fingerprint, as ssh-keygen -l prints them."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def _found(name: str, file: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each key that a file has for a host, its kind and its base64, after its marker."""
    if not (Path(file).is_file() and os.access(file, os.R_OK)):  # ssh skips it, too
        return
    argv = ["ssh-keygen", "-q", "-F", name, "-f", file]
    answer = Local().run(argv)
    if answer.exit_code not in {0, 1}:
        message = answer.stderr.decode(errors="replace").strip()
        raise TransportError(f"ssh-keygen cannot read {file}: {message}")
    for line in answer.stdout.decode(errors="replace").splitlines():
        words = line.split()
        marker = words.pop(0) if words[0].startswith("@") else ""
        yield marker, tuple(words[1:3])
