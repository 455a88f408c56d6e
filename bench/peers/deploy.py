"""The plan for one container, as a deploy of pyinfra.

Run by bench, or by hand: ``pyinfra inventory.py deploy.py``. The inventory's data has ``ctid``,
``plan_files`` (source, destination and mode of each edited file) and ``daemon_json`` (source).
"""

from __future__ import annotations

from pathlib import Path

from pyinfra import host
from pyinfra.facts.server import Command
from pyinfra.operations import files, server, systemd
from pyinfra.operations.util import any_changed

CTID = host.data.ctid
CONFIG = f"/etc/pve/lxc/{CTID}.conf"
INSIDE = f"pct exec {CTID} --"

of_apparmor = []
for each in host.data.plan_files:
    put = files.put(
        name=f"{each['dest']} is as edited", src=each["src"], dest=each["dest"], mode=each["mode"]
    )
    if each["dest"].startswith("/etc/apparmor.d/"):
        of_apparmor.append(put)

systemd.service(
    name="AppArmor is reloaded",
    service="apparmor",
    running=True,
    reloaded=True,
    _if=any_changed(*of_apparmor),
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
booted = f"{INSIDE} systemctl is-system-running --wait | grep -E 'running|degraded'"
online = f"{INSIDE} grep -E '^[a-z0-9]+[[:space:]]00000000' /proc/net/route"
server.shell(
    name="the container is restarted",
    commands=[
        f"pct shutdown {CTID} --timeout 60 --forceStop 1",
        f"pct start {CTID}",
        f"until {booted}; do sleep 0.5; done",
        f"until {online}; do sleep 0.5; done",
    ],
    _if=any_changed(*options),
)

asked = (
    f"{INSIDE} sh -c \"dpkg-query -W -f '\\${{db:Status-Abbrev}}' fuse-overlayfs; echo; "
    'cat /etc/docker/daemon.json" 2>/dev/null || true'
)
status, _, settings = (host.get_fact(Command, asked) or "").partition("\n")
if not status.startswith("ii"):
    apt = f"{INSIDE} env DEBIAN_FRONTEND=noninteractive apt-get -q"
    server.shell(
        name="fuse-overlayfs is installed",
        commands=[f"{apt} update", f"{apt} install -y --no-install-recommends fuse-overlayfs"],
    )
if settings.strip() != Path(host.data.daemon_json).read_text().strip():
    files.put(
        name="Docker's settings are on the node",
        src=host.data.daemon_json,
        dest="/root/daemon.json",
    )
    server.shell(
        name="Docker has its settings",
        commands=[
            f"{INSIDE} mkdir -p /etc/docker",
            f"pct push {CTID} /root/daemon.json /etc/docker/daemon.json",
            # Under the new profile it could not start on its former driver, too often for systemd.
            f"{INSIDE} systemctl reset-failed docker",
            f"{INSIDE} systemctl restart docker",
        ],
    )
