"""Confinement that fails although file, repository, kernel and names agree."""

from __future__ import annotations

from faults.fault import Fault, red, undetermined

_LOCAL = "/etc/apparmor.d/local/$profile"
#: Docker runs unconfined, although the profile's file is the shipped one.
UNCONFINED = (
    "printf '%s\\n' '/usr/sbin/dockerd Ux,' '/usr/bin/containerd Ux,' "
    f'>"{_LOCAL}"; load; inside systemctl restart containerd docker'
)
#: The profile allows everything, under its right name.
EVERYTHING = (
    "sed -i -e '/^  audit deny/d' -e 's|^  file,$|&\\n  mount,\\n  network,\\n"
    "  change_profile -> **,|' $profiles; load"
)

FAULTS = (
    Fault(
        "F26",
        "the site's additions let Docker run unconfined",
        UNCONFINED,
        expect=red(
            "confined",
            "not confined by lxc-phoenix-v2",
            "dockerd (process ",
            "is unconfined",
            "local/lxc-phoenix-v2: /usr/sbin/dockerd Ux,",
        ),
    ),
    Fault(
        "F26-child",
        "the site's additions let Docker run under a child profile that allows everything",
        "printf '%s\\n' '/usr/sbin/dockerd Cx -> wide,' "
        "'profile wide flags=(attach_disconnected) { file, capability, network, mount, umount, "
        "remount, pivot_root, signal, ptrace, unix, dbus, }' "
        f'>"{_LOCAL}"; load; inside systemctl restart docker',
        expect=red(
            "confined",
            "not confined by lxc-phoenix-v2",
            "is under 'lxc-phoenix-v2//wide (enforce)', a child that the plan's profile",
            "/usr/sbin/dockerd Cx -> wide,",
        ),
        also=(
            "one-name",
            "current",
            "mount",
            "hello",
            "denials",
            "again",
        ),  # the file holds two profiles
    ),
    Fault(
        "F26-everything",
        "the profile allows everything, under its right name",
        EVERYTHING,
        expect=red(
            "refused",
            "container {ctid} may list the node's firmware",
            "change to another profile",
            "bind /proc to another place",
            "lxc-phoenix-v2: change_profile -> **,",
        ),
    ),
    Fault(
        "F26-kill",
        "the profile kills what it should refuse",
        "sed -i 's/^\\(profile lxc-phoenix-v2 flags=(.*\\))/\\1,kill)/' $profiles; load",
        expect=red("enforced", "is in kill mode, which confines, and kills a process")
        | red("confined", "runs under 'lxc-phoenix-v2 (kill)'"),
        also=("units", "mount", "hello", "denials", "again"),
    ),
    Fault(
        "F17-quiet",
        "the profile refuses the mounts of the guest's units, and leaves no record",
        "rule 'deny mount options=(rw, move),'; restart",
        expect=undetermined("units", "unit(s) fail is not known"),
        also=("mount", "hello", "denials"),
    ),
    Fault(
        "F17-unknown",
        "a unit failed, and the node's log leaves out the reason",
        "auditctl -a always,exclude -F msgtype=AVC >/dev/null; "
        "printf '[Service]\nType=oneshot\nExecStart=/bin/false\n' | "
        "unit fails.service",
        expect=undetermined(
            "units",
            "fails.service: no denial of its time is known",
            "audit rules leave records out",
        ),
        also=("log", "denials"),
    ),
)
