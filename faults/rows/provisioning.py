"""Provisioning, its script, and a second run."""

from __future__ import annotations

from faults.fault import APPLIED, Fault, node_fault, red

#: An empty package named fuse-overlayfs, built on the node without a mirror.
_EMPTY_PACKAGE = """
mkdir -p /tmp/empty/DEBIAN
printf '%s\\n' 'Package: fuse-overlayfs' 'Version: 1.0' 'Architecture: all' \
    'Maintainer: nobody <nobody@localhost>' 'Description: nothing' >/tmp/empty/DEBIAN/control
dpkg-deb -b /tmp/empty /tmp/empty.deb >/dev/null
dpkg -i /tmp/empty.deb >/dev/null
"""

FAULTS = (
    Fault(
        "F50",
        "create exits 0 and does nothing",
        "printf '#!/bin/sh\\nexit 0\\n' >\"$repository/bin/phoenix\"",
        expect=red("from-nothing", "left no container {ctid}"),
        start=APPLIED,
    ),
    Fault(
        "F50-description",
        "the container's description is not valid",
        'sed -i \'s/"unprivileged": true/"unprivileged": "yes"/\' '
        '"$repository/etc/phoenix_lxc_configs.json"',
        expect=red("from-nothing", "phoenix create {ctid} did not succeed", "is not valid"),
        start=APPLIED,
    ),
    node_fault(
        "F51",
        "a second run restarts Docker",
        "echo 'inside systemctl restart docker' >>\"$install\"",
        expect=red("again", "a second run changed", "dockerd: "),
    ),
    node_fault(
        "F51-append",
        "a second run appends a line",
        "echo 'echo again | pct exec \"$CTID\" -- tee -a /etc/docker/appended >/dev/null' "
        '>>"$install"',
        expect=red("again", "a second run changed", "/etc/docker/appended"),
    ),
    node_fault(
        "F51-rewrite",
        "a second run rewrites a file with the same content",
        "echo 'inside cp -p /etc/docker/daemon.json /etc/docker/new; "
        'inside mv /etc/docker/new /etc/docker/daemon.json\' >>"$install"',
        expect=red("again", "a second run changed", "file /etc/docker/daemon.json"),
    ),
    node_fault(
        "F51-reinstall",
        "a second run reinstalls a package",
        "echo 'inside apt-get install -y --reinstall runc >/dev/null' >>\"$install\"",
        expect=red("again", "a second run changed", "file /usr/sbin/runc"),
    ),
    node_fault(
        "F51-fails",
        "a second run ends with an error",
        'echo \'fail "container $CTID has it already"\' >>"$install"',
        expect=red("again", "phoenix create {ctid} did not succeed", "has it already"),
    ),
    node_fault(
        "F52",
        "a second run loses the profile",
        'echo \'sed -i /^lxc.apparmor.profile/d "/etc/pve/lxc/$CTID.conf"\' >>"$install"',
        expect=red("again", "a second run changed", "configuration: "),
    ),
    Fault(
        "F53",
        "a feature's script fails, and create exits 0",
        "sed -i '/((status == 0)) || die/d' \"$repository/bin/phoenix\"; "
        "sed -i 's/^# --- Storage driver ---$/exit 1/' \"$install\"",
        expect=red("from-nothing", "Docker is not installed in the container"),
        start=APPLIED,
    ),
    node_fault(
        "F54",
        "the plan's lines were pasted unchanged: they run on the node",
        "sed -i 's/^    inside apt-get install -y fuse/    apt-get install -y fuse/' \"$install\"",
        expect=red("script", "run on the node instead of in the container"),
    ),
    node_fault(
        "F54-node",
        "fuse-overlayfs was installed on the node",
        _EMPTY_PACKAGE,
        expect=red("installed", "fuse-overlayfs is installed on the node"),
    ),
    node_fault(
        "F55",
        "the install script goes on after an error",
        "sed -i '/^set -e$/d' \"$install\"",
        expect=red("script", "not 'set -e'"),
    ),
    node_fault(
        "F55-check",
        "the install script asks dpkg -l, which is true for removed packages",
        "sed -i 's/^if ! installed fuse-overlayfs/if ! dpkg -l | grep -q fuse-overlayfs/' "
        '"$install"',
        expect=red("script", "fuse-overlayfs is checked for 0 times"),
    ),
    node_fault(
        "F55-syntax",
        "the install script is not valid bash",
        "echo 'if true; then' >>\"$install\"",
        expect=red("script", "is no valid bash"),
        also=("again",),
    ),
)
