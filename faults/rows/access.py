"""Access to the target: every scenario is undetermined, and names the one cause."""

from __future__ import annotations

from faults.fault import Fault
from faults.scenarios import AGAIN, DENIALS, INSIDE, ROOT, read_only

_EVERYTHING = (ROOT, *(title for title in read_only() if title != ROOT))

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
        undetermined=_EVERYTHING,
        words=("the host key of", "has CHANGED"),
        because=("has CHANGED",),
    ),
    Fault(
        "F71",
        "the container is stopped",
        'pct stop "$ctid"',
        undetermined=INSIDE,
        words=("container {ctid}", "is stopped", "pct start {ctid}"),
        because=("is stopped",),
    ),
    Fault(
        "F71-locked",
        "a backup holds the container's lock",
        "sed -i '1i lock: backup' \"$conf\"",
        undetermined=(DENIALS,),
        words=("CT is locked (backup)", "pct unlock {ctid}"),
        also=(AGAIN,),
    ),
    Fault(
        "F71-absent",
        "there is no such container",
        'mv "$conf" /root/taken.conf',
        undetermined=_EVERYTHING,
        words=("there is no container {ctid} on",),
        because=("there is no container {ctid}",),
        look=True,
    ),
    Fault(
        "F71-elsewhere",
        "the container is on another node of the cluster",
        'mkdir -p /etc/pve/nodes/other/lxc; mv "$conf" /etc/pve/nodes/other/lxc/',
        undetermined=_EVERYTHING,
        words=("container {ctid} is not on", "but on other"),
        because=("but on other",),
        look=True,
    ),
    Fault(
        "F72",
        "nothing on the node manages containers",
        "mv /usr/sbin/pct /usr/sbin/pct.off; mv /usr/bin/lxc-start /usr/bin/lxc-start.off",
        undetermined=_EVERYTHING,
        words=("neither pct nor lxc-start was found",),
        because=("neither pct nor lxc-start was found",),
        look=True,
    ),
    Fault(
        "F72-root",
        "the login on the node does not get root",
        _NOBODY,
        undetermined=_EVERYTHING,
        words=("we are not root but uid",),
        because=("we are not root",),
        look=True,
    ),
    Fault(
        "F72-noisy",
        "the login shell on the node prints text of its own",
        _NOISY,
        undetermined=_EVERYTHING,
        words=("prints text of its own", "Welcome to pve1", "case $- in *i*)"),
        because=("prints text of its own",),
        look=True,
    ),
)
