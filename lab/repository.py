"""Somebody else's apt archive, named by the user with the key that signs it."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from lab import sources
from lab.errors import Unreachable
from targets.errors import UsageError

if TYPE_CHECKING:
    from lab.sources import Source

_FORM = "an apt source: deb http(s)://HOST/PATH SUITE COMPONENT, or deb822"
_ARMOUR = "-----{} PGP PUBLIC KEY BLOCK-----"
#: A label of a host's name; an IPv6 address stands in brackets, which urlsplit takes off.
_HOST = re.compile(r"(?!-)[\w-]{1,63}(?<!-)(\.(?!-)[\w-]{1,63}(?<!-))*\.?|[0-9a-fA-F:]+", re.ASCII)
#: The tag of a public key's packet (RFC 9580, 5): the first byte, in either format.
_PUBLIC_KEY = range(0x98, 0x9C), range(0xC6, 0xC7)
#: Releases whose packages do not fit into another one's system.
_RELEASES = frozenset({"buster", "bullseye", "bookworm", "trixie", "forky"})
_PROXY = re.compile(r'Acquire::(https?)::Proxy(?:::(\S+))? "([^"]+)";')
#: How long an archive may take to answer (seconds).
_ANSWER_TIMEOUT = 10.0


@dataclass(frozen=True)
class Repository:
    """One archive; ``key`` is the OpenPGP public key that signs it, as text."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    key: str

    def __str__(self) -> str:
        """Where its packages come from, in one line."""
        return " ".join((*self.uris, *self.suites, *self.components))

    @property
    def source(self) -> str:
        """The apt source (deb822). The key is part of it, so it holds inside the image too."""
        key = "".join(f" {line or '.'}\n" for line in self.key.splitlines())
        return (
            f"Types: deb\nURIs: {' '.join(self.uris)}\nSuites: {' '.join(self.suites)}\n"
            f"Components: {' '.join(self.components)}\nSigned-By:\n{key}"
        )

    def require_release(self, release: str) -> None:
        """Raise UsageError if its packages are another release's than the node's."""
        if others := sorted(_RELEASES.intersection(self.suites) - {release}):
            raise UsageError(
                f"repository {self}: its packages are for {others[0]}, and the node is made of "
                f'{release}; write release = "{others[0]}" into the machine file, or name the '
                f"repository's suite for {release}"
            )

    def require_reachable(self, settings: tuple[str, ...]) -> None:
        """Ask for every Release file, through the proxies that apt uses.

        Raises:
            Unreachable: one does not come; in one line.
        """
        for url in (f"{uri}/dists/{suite}/Release" for uri in self.uris for suite in self.suites):
            opener = build_opener(ProxyHandler(_proxies(url, settings)))
            try:
                opener.open(url, timeout=_ANSWER_TIMEOUT).close()
            except (OSError, HTTPException) as error:
                reason = getattr(error, "reason", None) or error
                raise Unreachable(f"cannot reach {url}: {reason}; nothing was built") from error


def named(text: str, key: bytes) -> tuple[Repository, ...]:
    """Return what an apt source names, in one line or deb822, with the key that signs it.

    Raises:
        ValueError: says what was expected instead.
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
    except ValueError:  # brackets, or a port that is none
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
    """Return what apt's settings say of a URL: its host's own, then all; http's serve https."""
    asked = urlsplit(url)
    known = {(m[1], m[2] or ""): m[3] for line in settings if (m := _PROXY.fullmatch(line))}
    for scheme in (asked.scheme, "http"):
        for host in (asked.hostname or "", ""):
            if proxy := known.get((scheme, host)):
                return {} if proxy == "DIRECT" else {asked.scheme: proxy}
    return {}
