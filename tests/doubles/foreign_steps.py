"""What steps and the gate's evidence are given by machines, for the table of parsers.

A Then that fails is a verdict, and no error.
"""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from facts import backups as found_backups
from facts import dockerd
from gate import evidence
from steps import (
    apparmor,
    audit,
    configuration,
    docker,
    files,
    hello_world,
    prerequisites,
    probe,
    rollback,
    target,
    versions,
    witness,
)
from targets.runtime.pct import Pct
from targets.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets.transport import Base

_TARGET = Target("pve1", 950)
_MARKED = b'\xef\xbb\xbf{"storage-driver": "fuse-overlayfs"}'
_ENTRIES = (
    b"1795717106.123456 pve1 systemd[1]: Starting apparmor.service - Load AppArmor profiles...\n"
    b"1795717106.223456 pve1 apparmor.systemd[7]: AppArmor parser error for /etc/apparmor.d/x\n"
    b"1795717107.123456 pve1 systemd[1]: Finished apparmor.service - Load AppArmor profiles.\n"
)
_SCRIPT = (
    b"#!/bin/bash\nset -e\nif ! installed fuse-overlayfs; then\n  apt-get install fuse-overlayfs\n"
    b"fi\ncat <<EOF >/etc/docker/daemon.json\n{}\nEOF\nexit\n"
    b"echo '@{apparmor_nesting_profiles} = a' > /etc/tunables/nesting\nsystemctl reload apparmor\n"
)
_REFUSED = (
    b'docker: error mounting "proc": permission denied\nmount program x: fuse-overlayfs\n'
    b"failed to Lchown x: invalid argument\ndial tcp 1.2.3.4:443: connection refused\n"
)
_IDS = b"         0     100000      65536\n     65536          0          1\n"
_MOUNTS = b"fuse-overlayfs /merged fuse.fuse-overlayfs rw,relatime 0 0\n/dev/x / ext4 rw 0 0\n"
_BACKUP = (
    b"1795717106.5\npve1\n./pve\n\n"
    b"100 1795717000.1 /d/vzdump-lxc-950-2026_11_26-10_00_00.tar.zst\n\n1795717000\n"
)
_IDMAP = b"lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n"


def _then(check: Callable[[Base], object]) -> Callable[[Base], object]:
    """Let a Then fail."""

    def ask(on: Base) -> None:
        with suppress(AssertionError):
            check(on)

    return ask


def _ran(on: Base) -> docker.DockerRun:
    return docker.DockerRun("gate-1", on.run(["docker", "run"]))


def _request() -> Any:
    return SimpleNamespace(addfinalizer=lambda _: None)


def _existing(on: Base) -> Any:
    return SimpleNamespace(ctid=950, inside=on, driver="vfs", held="x", running=["a"], recorded={})


def _daemon() -> dockerd.Daemon:
    return dockerd.Daemon(Pct(_Silent()), 950, 42, ("/usr/bin/dockerd", "-H", "fd://"))


class _Silent(witness.TransportBackend):  # pragma: no cover - never asked
    """A machine that nobody asks."""

    def __init__(self) -> None:
        """Need no transport."""


def _backed_up(on: Base) -> None:
    listed = found_backups.find(on, 950, "/d")
    prerequisites.container_is_backed_up(on, 950, listed, _TARGET, Pct(on))


_THENS: dict[str, tuple[Callable[[Base], object], bytes]] = {
    "apparmor.loaded_after_tunable": (apparmor.loaded_after_tunable, b"1795717106.123456789\n"),
    "apparmor.last_load_was_clean": (apparmor.last_load_was_clean, _ENTRIES),
    "apparmor._entries": (apparmor._entries, _ENTRIES),
    "apparmor.one_name": (lambda on: apparmor.one_name(on, Pct(on), 950, "p"), b"p (enforce)\n"),
    "apparmor.kernel_enforces": (lambda on: apparmor.kernel_enforces(on, "p"), b"p (enforce)\n"),
    "apparmor._widening": (lambda on: apparmor._widening(on, "p"), b"profile p {\n  /x Ux,\n}\n"),
    "audit.subject": (lambda on: audit.subject(Pct(on), 950), _IDMAP),
    "configuration.fuse_can_be_opened": (
        lambda on: configuration.fuse_can_be_opened(on, Pct(on), 950),
        b"character special file a:e5\n",
    ),
    "configuration.keyrings_can_be_made": (configuration.keyrings_can_be_made, b""),
    "docker.docker_runs": (lambda on: docker.docker_runs(witness.host(on)), b"enabled\n"),
    "docker._why_down": (lambda on: docker._why_down(witness.host(on)), b"failed to start x\n"),
    "docker.storage_driver_is": (
        lambda on: docker.storage_driver_is(on, Pct(on), 950, "vfs"),
        b'{"Driver": "vfs", "ServerVersion": "26.1.5", "ID": "x", "DriverStatus": []}\n',
    ),
    "docker._changed_since": (
        lambda on: docker._changed_since(on, _daemon()),
        b"ExecStart={ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// ; x\n",
    ),
    "docker.cause": (lambda on: docker.cause(docker.said(on.run(["x"]))), _REFUSED),
    "files.setup_script_writes_tunable": (
        lambda on: files.setup_script_writes_tunable(on, _TARGET),
        _SCRIPT,
    ),
    "files.install_script_stops": (lambda on: files.install_script_stops(on, _TARGET), _SCRIPT),
    "files.install_script_installs_once": (
        lambda on: files.install_script_installs_once(on, _TARGET),
        _SCRIPT,
    ),
    "files.install_script_enters": (lambda on: files.install_script_enters(on, _TARGET), _SCRIPT),
    "files._refused_settings": (
        lambda on: files._refused_settings(_daemon(), Pct(on), 950),
        b"unable to configure the Docker daemon with file x\n",
    ),
    "files._settings": (lambda on: files._settings(witness.host(on)), _MARKED),
    "files._require_readable_mark": (
        lambda on: files._require_readable_mark(witness.host(on), _MARKED),
        b"Docker version 26.1.5+dfsg1, build a72d7cd\n",
    ),
    "files._of_its_template": (
        lambda on: files._of_its_template(on, _TARGET),
        b'{"lxc_configs": {"950": {"template": "x"}}}',
    ),
    "hello_world._pull": (
        lambda on: hello_world._pull(on, "x", lambda: target.ids_of(Pct(on), on, 950)),
        _REFUSED,
    ),
    "hello_world.it_greets": (
        lambda on: hello_world.it_greets(on, Pct(on), 950, _ran(on), "x"),
        b"Hello from Docker!\n",
    ),
    "hello_world._runc": (
        lambda on: hello_world._runc(on, on.run(["x"])),
        b"reopen fd 8: permission denied\n",
    ),
    "prerequisites.container_is_backed_up": (
        _backed_up,
        _BACKUP,
    ),
    "probe.image_is_loaded": (lambda on: probe.image_is_loaded(on, _request()), b"x86_64\n"),
    "probe.root_is_fuse": (
        lambda on: probe.root_is_fuse(on, Pct(on), 950, _ran(on)),
        b"/var/lib/docker/merged\n",
    ),
    "probe._elsewhere": (lambda on: probe._elsewhere(on, on), b"/srv/docker\n"),
    "probe._merged": (lambda on: probe._merged(on, _ran(on)), b"/var/lib/docker/merged\n"),
    "probe._mounted": (lambda on: probe._mounted(on.run(["x"]).stdout, "/merged"), _MOUNTS),
    "probe.mount_serves": (lambda on: probe.mount_serves(on, _ran(on)), b"/var/lib/merged\n"),
    "rollback._keep_one_running": (rollback._keep_one_running, b"x86_64\n"),
    "rollback._running": (rollback._running, b"a\nb\n"),
    "rollback._driver": (rollback._driver, b"vfs\n"),
    "rollback.docker_runs_on": (
        lambda on: rollback.docker_runs_on(_existing(on), "overlay2", "x"),
        b"overlay2\n",
    ),
    "rollback.letter_is_worse": (
        lambda on: rollback.letter_is_worse(_existing(on), Pct(on), on.run(["x"])),
        b"error initializing graphdriver\n",
    ),
    "rollback.former_container_starts": (
        lambda on: rollback.former_container_starts(_existing(on)),
        b"",
    ),
    "target.root_is_mapped": (lambda on: target.root_is_mapped(Pct(on), on, 950), _IDS),
    "target.ids_of": (lambda on: target.ids_of(Pct(on), on, 950), _IDS),
    "target.no_unit_failed": (
        lambda on: target.no_unit_failed(Pct(on), on, 950),
        b"running\n",
    ),
    "versions.of_node": (
        lambda on: (versions.of_node(on), on.ask(versions._packages({"Docker": "docker.io"}))),
        b"docker.io 26.1.5+dfsg1-9\n",
    ),
    "evidence.transcript": (lambda on: evidence.transcript(on.run(["x"])), b"said\n"),
}
#: Name → what is asked, and how a healthy machine answers.
PARSERS = {f"steps.{name}": (_then(ask), sample) for name, (ask, sample) in _THENS.items()}
