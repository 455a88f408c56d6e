"""The user's known host keys, from known_hosts files as OpenSSH reads them.

paramiko's own reader stops at the first unreadable line, and does not know markers.

Source: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.hostkeys import HostKeyEntry

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import TransportError

if TYPE_CHECKING:
    from docker_lxc_gate.machines.ssh.ssh_config import Hop

_CA, _REVOKED = "@cert-authority", "@revoked"


@dataclass(frozen=True)
class HostKey:
    """A key, its host names (or their hashes), and the line of the file."""

    names: tuple[str, ...]
    key: paramiko.PKey
    file: str
    line: int
    revoked: bool = False


class KnownHosts:
    """The known and the revoked keys of all files.

    Unreadable lines and files are skipped, as by OpenSSH. Unlike OpenSSH, this accepts no
    certificate authority and no pattern (``*.example``), and a revoked key is revoked for every
    host. So it refuses more, never less.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._entries = [entry for file in files for entry in _entries(file)]

    def tell(self, keys: paramiko.HostKeys) -> None:
        """Add the known keys to ``keys``; a name may have several keys of one kind."""
        _fill(keys, [entry for entry in self._entries if self.revoked(entry.key) is None])

    def revoked(self, key: paramiko.PKey) -> HostKey | None:
        """Return the line that revokes a key, or None."""
        return next((e for e in self._entries if e.revoked and e.key == key), None)

    def file_of(self, name: str) -> str | None:
        """Return the first file that knows a host by this name (``[HOST]:PORT``)."""
        return next(
            (e.file for e in self._entries if _fill(paramiko.HostKeys(), [e]).lookup(name)), None
        )


class Refuse(paramiko.MissingHostKeyPolicy):
    """Refuses an unknown host key, with an error that says how to accept it."""

    def __init__(self, hop: Hop, known: KnownHosts) -> None:
        self._hop, self._known = hop, known

    def missing_host_key(
        self, _client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Raise TransportError with the key, and how to accept it."""
        require_not_revoked(self._known, hostname, key)
        kind = key.get_name()
        word = next(word for word in ("ed25519", "ecdsa", "rsa", kind) if word in kind)
        first, *_ = (*self._hop.known_hosts, "~/.ssh/known_hosts")
        raise TransportError(
            f"the host key of {hostname} is not known: {fingerprint(key)}\n"
            "compare it on the machine's own console "
            f"(ssh-keygen -lf /etc/ssh/ssh_host_{word}_key.pub); if it is the same, add this line "
            f"to {first}:\n{hostname} {kind} {key.get_base64()}"
        )


def require_not_revoked(known: KnownHosts, name: str, key: paramiko.PKey) -> None:
    """Raise TransportError if a host shows a key that is revoked."""
    if where := known.revoked(key):
        raise TransportError(
            f"the host key of {name} is revoked ({where.file}, line {where.line}): "
            f"{fingerprint(key)}"
        )


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's kind and fingerprint, as ssh-keygen -l prints them."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


class _AnyOf:
    """Several keys of one kind, equal to each of them: paramiko compares with a single key."""

    def __init__(self, first: paramiko.PKey) -> None:
        self.keys = [first]

    def __eq__(self, other: object) -> bool:
        return other in self.keys

    def __hash__(self) -> int:
        return hash(tuple(self.keys))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.keys[0], name)


def _fill(keys: paramiko.HostKeys, entries: Iterable[HostKey]) -> paramiko.HostKeys:
    for entry in entries:
        kind = entry.key.get_name()
        for name in entry.names:
            known: Any = keys.lookup(name) or {}
            if kind not in known:
                keys.add(name, kind, _AnyOf(entry.key))  # type: ignore[arg-type]
            else:
                known[kind].keys.append(entry.key)
    return keys


def _meant(names: Sequence[str]) -> tuple[str, ...]:
    """Return a line's names in lower case, without those that it excludes (``!name``)."""
    names = [name if name.startswith("|") else name.lower() for name in names]
    escaped = [patterns.escape(name[1:]) for name in names if name.startswith("!")]
    not_meant = [each.replace(r"\*", ".*").replace(r"\?", ".") for each in escaped]
    return tuple(
        name
        for name in names
        if not name.startswith("!")
        and not any(patterns.fullmatch(each, name) for each in not_meant)
    )


def _entries(file: str) -> Iterator[HostKey]:
    try:
        lines = Path(file).expanduser().read_bytes().splitlines()
    except (OSError, RuntimeError):  # the latter: ~USER of an unknown user
        return
    for number, line in enumerate(lines, 1):
        marker, *words = line.decode(errors="replace").split()[:4] or ["#"]
        if marker == _CA or marker.startswith("#"):
            continue
        words = words if marker == _REVOKED else [marker, *words]
        if (entry := _parsed(" ".join(words))) is not None:
            names = _meant(entry.hostnames)
            yield HostKey(names, entry.key, file, number, revoked=marker == _REVOKED)


def _parsed(line: str) -> HostKeyEntry | None:
    try:
        entry = HostKeyEntry.from_line(line)
        for name in entry.hostnames if entry else ():
            if name.startswith("|"):
                paramiko.HostKeys.hash_host("", name)  # raises where it is no hash
    except Exception:  # noqa: BLE001 - any line that cannot be read
        return None
    return entry
