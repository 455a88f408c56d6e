"""Files of every kind that is linted, as somebody else may have written them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from commandline.json_output import json_line
from lint import fixes, formats, remote
from lint.check import check
from lint.rules.profile import is_for_containers
from lint.rules.tools import Tools
from lint.source import Kind, Source
from targets.errors import RemediationError
from targets.runtime.lxc import Lxc
from targets.runtime.pct import Pct

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets.transport import Base


def _linted(name: str, *kinds: Kind) -> Callable[[Base], object]:
    """Lint the same bytes as files of these kinds, mend what is certain, and print what is found.

    The tools answer what the machine answers.
    """

    def ask(on: Base) -> None:
        content = on.run(["bytes"]).stdout
        base = "/a" if Kind.PROFILE in kinds else ""
        inside = name if base else ""
        sources = [Source(f"/a/{name}", content, kind, base=base, inside=inside) for kind in kinds]
        sources += [Source("/a/docker.service", content, kind) for kind in kinds[1:]]
        found = check(sources, Tools(on, is_for_containers))
        for path, wanted in fixes.certain(found).items():
            assert path
            fixes.mended(content, wanted)
        shown = found[:200]
        json_line(formats.as_json(shown, sources))
        json_line(formats.as_sarif(shown))
        formats.summary(found, sources)
        for each in shown:
            formats.as_github(each)
            list(formats.as_text(each))

    return ask


_CONTAINER = (
    b"#a comment\narch: amd64\nfeatures: nesting=1,fuse=1\nrootfs: local:1\nunprivileged: 1\n"
    b"swap : 1\nlxc.apparmor.profile = lxc-docker\nlxc.mount.entry: /dev/fuse\ndev/fuse\nnone\n"
    b"lxc.idmap: u 0 100000 65536\nlxc.cgroup.devices.allow: a\n[before]\nmemory: 1\nmemory: 2\n"
)
_PROFILE = (
    b"abi <abi/3.0>,\n#include <tunables/global>\n@{apparmor_nesting_profiles} = a\n"
    b'profile "lxc-a" flags=(complain) {\n  include <abstractions/base>\n'
    b"  include <lxc-docker>\n"
    b"  change_profile -> **,\n  mount fstype=(proc, sysfs) -> /{a,b}/**,\n}\n"
    b"lxc.apparmor.profile: lxc-a\n"
)
_SCRIPT = (
    b'#!/bin/bash\nset -euo pipefail\ninside() { pct exec "$1" -- "$@"; }\n'
    b'for o in $(jq -r .lxc_options); do inside command -v "${o:-$(a)}"; done <<X\nx\nX\n'
    b"dpkg -l | grep -q a; case $x in (a) b;; esac; y=$((1 << 2)); z=(a b)\n"
)
_SETTINGS = (
    b'{"storage-driver": "overlay2", "hosts": ["a"], "log-opts": {"max-file": 3}, "x": {"y": 1}}\n'
)
_DESCRIPTION = (
    b'{"lxc_configs": {"950": {"apparmor_profile": "lxc_docker", "unprivileged": false,\n'
    b' "pct_features": ["a=1"], "lxc_options": ["lxc.mount.entry: /dev/fuse"]}},\n'
    b' "type": "object", "properties": {"lxc_configs": {"type": "string"}}, "required": ["x"]}\n'
)


def _remote(on: Base) -> None:
    """All files of a target whose every answer is foreign."""
    for runtime in (Pct(on), Lxc(on)):
        with suppress(RemediationError):
            remote.of_container(runtime, 950, "/phoenix")
        remote.of_node(runtime, "/phoenix")


PARSERS: dict[str, tuple[Callable[[Base], object], bytes]] = {
    "lint.remote": (_remote, b"644 /etc/apparmor.d/x\0755 /phoenix/bin/a.sh\0"),
    "lint.container": (_linted("950.conf", Kind.CONTAINER), _CONTAINER),
    "lint.lxc": (_linted("config", Kind.LXC), _CONTAINER.replace(b":", b" =")),
    "lint.profile": (_linted("lxc-docker", Kind.PROFILE, Kind.CONTAINER), _PROFILE),
    "lint.script": (_linted("a.sh", Kind.SCRIPT), _SCRIPT),
    "lint.daemon": (_linted("daemon.json", Kind.DAEMON, Kind.UNIT), _SETTINGS),
    "lint.description": (_linted("a.json", Kind.DESCRIPTION, Kind.SCHEMA), _DESCRIPTION),
}
