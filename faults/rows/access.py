"""Access to the target: every scenario is undetermined, and names the one cause."""

from __future__ import annotations

from faults.fault import Fault, undetermined
from faults.scenarios import inside, read_only

_EVERYTHING = tuple(dict.fromkeys(("root", *read_only())))

_OTHER_HOST_KEY = """
cd /etc/ssh
ssh-keygen -q -t ed25519 -N '' -f other
mv other ssh_host_ed25519_key
mv other.pub ssh_host_ed25519_key.pub
systemctl restart ssh
"""
_NOBODY = """
printf 'ForceCommand runuser -u nobody -- sh -c "$SSH_ORIGINAL_COMMAND"\\n' \
    >/etc/ssh/sshd_config.d/nobody.conf
systemctl restart ssh
"""
#: As a .bashrc does where the login shell reads it; this node's shell does not.
_NOISY = """
printf 'ForceCommand echo Welcome to pve1; eval "$SSH_ORIGINAL_COMMAND"\\n' \
    >/etc/ssh/sshd_config.d/noisy.conf
systemctl restart ssh
"""

FAULTS = (
    Fault(
        "F70",
        "the node's host key has changed",
        _OTHER_HOST_KEY,
        expect=undetermined(_EVERYTHING, "has CHANGED")
        | undetermined("root", "the host key of", "has CHANGED"),
    ),
    Fault(
        "F71",
        "the container is stopped",
        'pct stop "$ctid"',
        expect=undetermined(inside(), "is stopped")
        | undetermined("confined", "container {ctid}", "is stopped", "pct start {ctid}"),
    ),
    Fault(
        "F71-locked",
        "a backup holds the container's lock",
        "sed -i '1i lock: backup' \"$conf\"",
        expect=undetermined("denials", "CT is locked (backup)", "pct unlock {ctid}"),
        also=("again",),
    ),
    Fault(
        "F71-absent",
        "there is no such container",
        'mv "$conf" /root/taken.conf',
        expect=undetermined(_EVERYTHING, "there is no container {ctid}")
        | undetermined("root", "there is no container {ctid} on"),
        look=True,
    ),
    Fault(
        "F71-elsewhere",
        "the container is on another node of the cluster",
        'mkdir -p /etc/pve/nodes/other/lxc; mv "$conf" /etc/pve/nodes/other/lxc/',
        expect=undetermined(_EVERYTHING, "but on other")
        | undetermined("root", "container {ctid} is not on", "but on other"),
        look=True,
    ),
    Fault(
        "F72",
        "nothing on the node manages containers",
        "mv /usr/sbin/pct /usr/sbin/pct.off; mv /usr/bin/lxc-start /usr/bin/lxc-start.off",
        expect=undetermined(_EVERYTHING, "neither pct nor lxc-start was found"),
        look=True,
    ),
    Fault(
        "F72-root",
        "the login on the node does not get root",
        _NOBODY,
        expect=undetermined(_EVERYTHING, "we are not root")
        | undetermined("root", "we are not root but uid"),
        look=True,
    ),
    Fault(
        "F72-noisy",
        "the login shell on the node prints text of its own",
        _NOISY,
        expect=undetermined(_EVERYTHING, "prints text of its own")
        | undetermined("root", "prints text of its own", "Welcome to pve1", "case $- in *i*)"),
        look=True,
    ),
)
