"""The archives of Debian's packages: this machine's own apt sources, or a mirror that you name.

This project names no mirror. It takes only archives of Debian proper that apt fetches over the
network, not folders, media, or other archives.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_string
from pathlib import Path

from docker_lxc_gate.lab.errors import NoSources

_ONE_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<rest>\S+\s+\S.*)$")
_SECURITY = re.compile(r"(-security|/updates)$")
_EXTRA = re.compile(r"-(updates|backports|proposed-updates|backports-sloppy)$")
_FETCHED = ("http://", "https://", "mirror+http://", "mirror+https://", "mirror://")
_LISTED = ("mirror+file:", "mirror+file://")
_ROLLING = frozenset({"sid", "unstable", "experimental"})


@dataclass(frozen=True)
class Archives:
    """The archives of Debian, and the apt settings needed to reach them.

    ``settings`` are lines of apt.conf: the proxies of the machine that builds.
    """

    main: tuple[str, ...]
    security: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def lines(self, release: str) -> tuple[str, ...]:
        """Return the one-line sources of a release: it, its updates, its security updates."""
        lines = [f"deb {uri} {release} main" for uri in self.main]
        if release in _ROLLING:
            return tuple(lines)
        lines += [f"deb {uri} {release}-updates main" for uri in self.main]
        return (*lines, *(f"deb {uri} {release}-security main" for uri in self.security))


@dataclass(frozen=True)
class _Source:
    """One apt source; ``uris`` has only addresses that are fetched over the network."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: str


def archives(mirror: str = "", etc: Path = Path("/etc/apt")) -> Archives:
    """Return Debian's archives: a ``mirror`` and its security archive, or those that apt names.

    Raises NoSources if apt's configuration folder names none, and there is no ``mirror``.
    """
    if mirror:
        uri = mirror.rstrip("/")
        return Archives((uri,), (f"{uri}-security",), _settings())
    main: dict[str, None] = {}
    security: dict[str, None] = {}
    for source in _configured(etc):
        for suite in source.suites if _is_debian(source) else ():
            place = security if _SECURITY.search(suite) else main
            if not _EXTRA.search(suite):
                place.update(dict.fromkeys(source.uris))
    if not main:
        raise NoSources(
            f"{etc} names no archive of Debian that is reached over the network\n"
            "name one: --mirror URL (or LAB_MIRROR=URL), as in an apt source of Debian"
        )
    return Archives(tuple(main), tuple(security), _settings())


def _is_debian(source: _Source) -> bool:
    """Whether a source is Debian's own, by its path or its key, and has the component main."""
    places = {uri.rstrip("/").rpartition("/")[2] for uri in source.uris}
    own = places <= {"debian", "debian-security"} or "debian-archive" in source.options
    return bool(source.uris) and own and "main" in source.components


def _configured(etc: Path) -> Iterator[_Source]:
    parts = etc / "sources.list.d"
    for path in [etc / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            yield from _one_line(path.read_text())
    for path in sorted(parts.glob("*.sources")):
        yield from _deb822(path.read_text())


def _one_line(text: str) -> Iterator[_Source]:
    for line in text.splitlines():
        match = _ONE_LINE.match(line.partition("#")[0].strip())
        if match:
            uri, suite, *components = match["rest"].split()
            yield _Source(_fetched([uri]), (suite,), tuple(components), match["options"] or "")


def _deb822(text: str) -> Iterator[_Source]:
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        # The same form, with folded lines, but for blanks before a colon.
        fields = message_from_string(re.sub(r"(?m)^([\w-]+)[ \t]+:", r"\1:", stanza.strip()))
        is_on = fields.get("Enabled", "yes").strip() != "no"
        if is_on and "deb" in fields.get("Types", "").split():
            yield _Source(
                _fetched(fields.get("URIs", "").split()),
                tuple(fields.get("Suites", "").split()),
                tuple(fields.get("Components", "").split()),
                fields.get("Signed-By", ""),
            )


def _fetched(uris: list[str]) -> tuple[str, ...]:
    """Keep addresses on the network; replace a file of mirrors by the mirrors in it."""
    kept: list[str] = []
    for uri in uris:
        if uri.startswith(_LISTED):
            kept += _mirrors_in(Path("/" + uri.partition(":")[2].lstrip("/")))
        elif uri.startswith(_FETCHED):
            kept.append(uri.rstrip("/"))
    return tuple(kept)


def _mirrors_in(path: Path) -> list[str]:
    lines = path.read_text().splitlines() if path.is_file() else []
    first = [line.split()[0].rstrip("/") for line in lines if line.strip()[:1] not in {"", "#"}]
    return [uri for uri in first if uri.startswith(_FETCHED)]


def _settings() -> tuple[str, ...]:
    """Return apt's proxies on this machine, as sorted lines of apt.conf."""
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    found = re.findall(r'(?m)^(Acquire::https?::Proxy\b.* "[^"]+";)$', done.stdout)
    if not found:
        pairs = ((scheme, os.environ.get(f"{scheme}_proxy", "")) for scheme in ("http", "https"))
        found = [f'Acquire::{scheme}::Proxy "{proxy}";' for scheme, proxy in pairs if proxy]
    return tuple(sorted(found))


def seen_from_guest(settings: tuple[str, ...]) -> str:
    """Return apt.conf for the machine: a proxy on our loopback is its gateway there."""
    return "".join(
        re.sub(r"//(localhost|127\.0\.0\.1|\[::1\])(?=[:/\"])", "//10.0.2.2", line) + "\n"
        for line in settings
    )
