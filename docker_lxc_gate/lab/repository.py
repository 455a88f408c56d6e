"""An apt archive other than Debian's, which the user names with its signing key."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.lab import sources
from docker_lxc_gate.lab.errors import Unreachable

if TYPE_CHECKING:
    from docker_lxc_gate.lab.sources import Source

_FORM = "an apt source: deb http(s)://HOST/PATH SUITE COMPONENT, or deb822"
_ARMOUR = "-----{} PGP PUBLIC KEY BLOCK-----"
#: A host's name or IPv6 address, whose brackets urlsplit removes.
_HOST = re.compile(r"(?!-)[\w-]{1,63}(?<!-)(\.(?!-)[\w-]{1,63}(?<!-))*\.?|[0-9a-fA-F:]+", re.ASCII)
#: The first byte of a public key's packet (RFC 9580, 5), in either format.
_PUBLIC_KEY = range(0x98, 0x9C), range(0xC6, 0xC7)
#: Debian releases; packages of one do not fit another.
_RELEASES = frozenset({"buster", "bullseye", "bookworm", "trixie", "forky"})
_PROXY = re.compile(r'Acquire::(https?)::Proxy(?:::(\S+))? "([^"]+)";')
#: The limit for an archive's answer (seconds).
_ANSWER_TIMEOUT = 10.0


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
        """Request every Release file, through apt's proxies.

        Raises:
            Unreachable: a request failed.
        """
        for url in (f"{uri}/dists/{suite}/Release" for uri in self.uris for suite in self.suites):
            opener = build_opener(ProxyHandler(_proxies(url, settings)))
            try:
                opener.open(url, timeout=_ANSWER_TIMEOUT).close()
            except (OSError, HTTPException) as error:
                reason = getattr(error, "reason", None) or error
                raise Unreachable(f"cannot reach {url}: {reason}; nothing was built") from error


def named(text: str, key: bytes) -> tuple[Repository, ...]:
    """Return the archives of an apt source (one line, or deb822), with their signing key.

    Raises:
        ValueError: the source or the key is wrong; names the expected form.
    """
    found = sources.parse(text)
    if not found or not all(map(_is_fetched, found)):
        raise ValueError(f"repository: expected {_FORM}")
    for uri in (uri for one in found for uri in one.uris):
        if not _has_host(uri):
            raise ValueError(f"repository: {uri} names no host; expected {_FORM}")
    armoured = _armoured(key)
    return tuple(Repository(one.uris, one.suites, one.components, armoured) for one in found)


def _is_fetched(source: Source) -> bool:
    web = [uri.startswith(("http://", "https://")) for uri in source.uris]
    return bool(web and all(web) and source.suites and source.components)


def _has_host(uri: str) -> bool:
    try:
        asked = urlsplit(uri)
        return bool(_HOST.fullmatch(asked.hostname or "")) and asked.port != 0
    except ValueError:  # wrong brackets, or an invalid port
        return False


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


def _proxies(url: str, settings: tuple[str, ...]) -> dict[str, str]:
    """Return apt's proxy for a URL: its host's own, or the general one; http's serves https."""
    asked = urlsplit(url)
    known = {(m[1], m[2] or ""): m[3] for line in settings if (m := _PROXY.fullmatch(line))}
    for scheme in (asked.scheme, "http"):
        for host in (asked.hostname or "", ""):
            if proxy := known.get((scheme, host)):
                return {} if proxy == "DIRECT" else {asked.scheme: proxy}
    return {}
