"""An apt archive other than Debian's, which the user names with its signing key."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.lab import sources
from docker_lxc_gate.lab.errors import Unreachable

if TYPE_CHECKING:
    from docker_lxc_gate.lab.sources import Source

_FORM = "an apt source: deb http(s)://HOST/PATH SUITE COMPONENT, or deb822"
_ARMOUR = "-----{} PGP PUBLIC KEY BLOCK-----"
#: The first byte of a public key's packet (RFC 9580, 5), in either format.
_PUBLIC_KEY = range(0x98, 0x9C), range(0xC6, 0xC7)
#: Debian releases; packages of one do not fit another.
_RELEASES = frozenset({"buster", "bullseye", "bookworm", "trixie", "forky"})
#: apt's own program to fetch a file, with one try of ten seconds.
_FETCH = ("/usr/lib/apt/apt-helper", "-qq", "-oAcquire::Retries=0", "-oAcquire::http::Timeout=10")


@dataclass(frozen=True)
class Repository:
    """One archive; ``key`` is the OpenPGP public key that signs it, as text."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    key: str

    def __str__(self) -> str:
        """Return its addresses, suites and components, in one line."""
        return " ".join((*self.uris, *self.suites, *self.components))

    @property
    def source(self) -> str:
        """The apt source (deb822), which includes the key, so that it also works in the image."""
        key = "".join(f" {line or '.'}\n" for line in self.key.splitlines())
        return (
            f"Types: deb\nURIs: {' '.join(self.uris)}\nSuites: {' '.join(self.suites)}\n"
            f"Components: {' '.join(self.components)}\nSigned-By:\n{key}"
        )

    def require_release(self, release: str) -> None:
        """Raise UsageError if its packages are for another release than the node's."""
        if others := sorted(_RELEASES.intersection(self.suites) - {release}):
            raise UsageError(
                f"repository {self}: its packages are for {others[0]}, but the node is Debian "
                f'{release}; write release = "{others[0]}" into the machine file, or name the '
                f"repository's suite for {release}"
            )

    def require_reachable(self, settings: tuple[str, ...]) -> None:
        """Request every Release file with apt's settings; raises Unreachable if one fails."""
        with tempfile.TemporaryDirectory() as folder:
            (config := Path(folder, "apt.conf")).write_text("\n".join(settings))
            argv, env = [*_FETCH, "download-file"], {**os.environ, "APT_CONFIG": str(config)}
            for uri, suite in product(self.uris, self.suites):
                asked = [*argv, f"{uri}/dists/{suite}/Release", f"{folder}/Release"]
                try:
                    done = subprocess.run(
                        asked, env=env, capture_output=True, text=True, timeout=60, check=False
                    )
                except (OSError, subprocess.TimeoutExpired) as error:
                    raise Unreachable(
                        f"{self} cannot be reached: {error}; nothing was built"
                    ) from error
                if done.returncode:
                    said = [line for line in done.stderr.splitlines() if line.startswith("E: ")]
                    why = said[0].removeprefix("E: ") if said else f"exit code {done.returncode}"
                    raise Unreachable(f"{self} cannot be reached: {why}; nothing was built")


def named(text: str, key: bytes) -> tuple[Repository, ...]:
    """Return the archives of an apt source (one line, or deb822), with their signing key.

    If one of the two is wrong, a ValueError names the expected form.
    """
    found = sources.parse(text)
    if not found or not all(map(_is_fetched, found)):
        raise ValueError(f"repository: expected {_FORM}")
    armoured = _armoured(key)
    return tuple(Repository(one.uris, one.suites, one.components, armoured) for one in found)


def _is_fetched(source: Source) -> bool:
    web = [uri.startswith(("http://", "https://")) for uri in source.uris]
    return bool(web and all(web) and source.suites and source.components)


def _armoured(key: bytes) -> str:
    """Return an OpenPGP public key as text."""
    begin, end = _ARMOUR.format("BEGIN"), _ARMOUR.format("END")
    if key.strip().startswith(begin.encode()):
        if not key.strip().endswith(end.encode()):
            raise ValueError(f"key: it is cut off; expected an OpenPGP public key, to its {end}")
        return key.decode(errors="replace").strip()
    if not key or not any(key[0] in tags for tags in _PUBLIC_KEY):
        raise ValueError("key: expected an OpenPGP public key (gpg --export)")
    lines = re.findall(".{1,64}", base64.b64encode(key).decode())
    return "\n".join((begin, "", *lines, end))
