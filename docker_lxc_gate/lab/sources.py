"""The archives of Debian's packages: those that apt on this machine has, or a mirror that you name.

This project names no mirror. It takes only archives of Debian proper that apt fetches over the
network, not folders, media, or other archives.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from docker_lxc_gate.lab.errors import LabError

#: Of each list of packages that apt has fetched: who made it, and from where. Source:
#: apt-get(8), indextargets; apt's doc/acquire-additional-files.md.
_FORM = "$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)"
_LISTS = ("apt-get", "indextargets", "--format", _FORM, "Created-By: Packages")
_MAIN, _SECURITY = "Debian Debian main", "Debian Debian-Security main"
_FETCHED = ("http://", "https://", "mirror+http://", "mirror+https://", "mirror://")
_LISTED = "mirror+file:"
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


def archives(mirror: str = "") -> Archives:
    """Return Debian's archives: a ``mirror`` and its security archive, or those that apt has.

    Raises LabError if apt has fetched no list of packages from one, and there is no ``mirror``.
    """
    if mirror:
        uri = mirror.rstrip("/")
        return Archives((uri,), (f"{uri}-security",), _settings())
    listing = _said(*_LISTS)
    main, security = (of_kind(listing, kind) for kind in (_MAIN, _SECURITY))
    if not main:
        raise LabError(
            "apt has no list of packages of Debian that it fetched over the network\n"
            "run apt-get update, or name an archive: LAB_MIRROR=URL, as in an apt source of Debian"
        )
    return Archives(main, security, _settings())


def of_kind(listing: str, kind: str = _MAIN) -> tuple[str, ...]:
    """Return the archives of one kind in apt's listing, without a slash at the end."""
    uris: dict[str, None] = {}
    for line in listing.splitlines():
        of, _, uri = line.rpartition(" ")
        if of == kind:
            uris.update(dict.fromkeys(_fetched(uri)))
    return tuple(uris)


def _fetched(uri: str) -> Iterable[str]:
    """Yield an address on the network; for a file of mirrors, those in it."""
    if uri.startswith(_LISTED):
        path = Path("/" + uri.removeprefix(_LISTED).strip("/"))
        lines = path.read_text().splitlines() if path.is_file() else []
        mirrors = [line.split()[0] for line in lines if line.strip()[:1] not in {"", "#"}]
    else:
        mirrors = [uri]
    return (mirror.rstrip("/") for mirror in mirrors if mirror.startswith(_FETCHED))


def _settings() -> tuple[str, ...]:
    """Return apt's proxies on this machine, as sorted lines of apt.conf."""
    lines = re.findall(r'(?m)^(Acquire::https?::Proxy\b.* "[^"]+";)$', _said("apt-config", "dump"))
    if not lines:
        pairs = ((scheme, os.environ.get(f"{scheme}_proxy", "")) for scheme in ("http", "https"))
        lines = [f'Acquire::{scheme}::Proxy "{proxy}";' for scheme, proxy in pairs if proxy]
    return tuple(sorted(lines))


def _said(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:  # no Debian: it needs a mirror
        return ""


def seen_from_guest(settings: tuple[str, ...]) -> str:
    """Return apt.conf for the machine: a proxy on our loopback is its gateway there."""
    return "".join(
        re.sub(r"//(localhost|127\.0\.0\.1|\[::1\])(?=[:/\"])", "//10.0.2.2", line) + "\n"
        for line in settings
    )
