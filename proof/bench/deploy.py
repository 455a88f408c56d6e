"""The plan for container 950, as a deploy of pyinfra; its data ``folder`` is bench's.

In the folder are ``files`` (the edited files, as below ``/``), ``daemon.json`` (Docker's settings),
and ``look`` (what look.sh prints if the plan has nothing to change).
"""

from __future__ import annotations

from pathlib import Path

from pyinfra import host
from pyinfra.facts.server import Command
from pyinfra.operations import files, server, systemd
from pyinfra.operations.util import any_changed

CONFIG = "/etc/pve/lxc/950.conf"
HERE, FOLDER = Path(__file__).parent, Path(host.data.folder)

edited = [
    files.put(name=f"{path.name} is as edited", src=str(path), dest=f"/{dest}", mode="644")
    for path in sorted((FOLDER / "files").rglob("*"))
    if path.is_file() and (dest := path.relative_to(FOLDER / "files"))
]
systemd.service(
    name="AppArmor is reloaded",
    service="apparmor",
    running=True,
    reloaded=True,
    _if=any_changed(*edited),
)
options = [
    files.line(
        name="the container has its features",
        path=CONFIG,
        line=r"^features: .*$",
        replace="features: nesting=1,keyctl=1,fuse=1",
    ),
    files.line(
        name="the container has its profile",
        path=CONFIG,
        line=r"^lxc\.apparmor\.profile: .*$",
        replace="lxc.apparmor.profile: lxc-phoenix-v2",
    ),
]
server.shell(
    name="the container is restarted",
    commands=[(HERE / "restart.sh").read_text()],
    _if=any_changed(*options),
)
seen = host.get_fact(Command, (HERE / "look.sh").read_text()) or ""
if seen.strip() != (FOLDER / "look").read_text().strip():
    files.put(
        name="Docker's settings are on the node",
        src=str(FOLDER / "daemon.json"),
        dest="/root/daemon.json",
    )
    server.shell(
        name="Docker has fuse-overlayfs and its settings",
        commands=[(HERE / "docker.sh").read_text()],
    )
