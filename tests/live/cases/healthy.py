"""Healthy targets that differ: on each of them the gate is green, again and again."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from docker_lxc_gate.machines.target import DEFAULT_PLAN
from proof.faults.fault import CTID, HEALTHY, HELPER
from proof.faults.scenarios import scenarios
from remediation import plan_file
from tests.doubles.samples import sample

#: 952, reserved on the lab's target, under the profile and denied something twice a second.
_NEIGHBOUR = sample("programs/lab/neighbour.sh")
#: The same, which stops while the log is watched and 950 has been restarted: it is gone with all
#: its processes. Whoever watches holds a program on the node that has the file's name.
_GONE = (
    _NEIGHBOUR
    + """
cat >/root/gone <<'END'
init() { lxc-info -n "$1" -p -H 2>/dev/null; }
watched() { pgrep -f 'perl.*[/]run/docker-lxc-gate[.]' >/dev/null; }
while :; do
    until watched; do sleep 0.2; done
    first=$(init "$1")
    while watched && [ -d "/proc/$first" ]; do sleep 0.1; done
    while watched && [ -z "$(init "$1")" ]; do sleep 0.2; done
    if watched && sleep 2; then break; fi
done
systemctl stop denied
pct stop 952
END
systemd-run -q --unit=gone bash /root/gone "$ctid"
"""
)
#: 953 is nobody's: neither the target's nor reserved.
_STOPPED = """
create 953 other
echo "lxc.apparmor.profile: $profile" >>/etc/pve/lxc/953.conf
"""
#: As in a guest whose network systemd-networkd does not manage: it waits in vain, and fails.
_WAITS = sample("programs/lab/waits_in_vain.sh")
#: Units and processes that come and go, a lease that is renewed, and a Docker container with a port
#: that ends and is started again, all of the time.
_CHURN = sample("programs/lab/churn.sh")


@dataclass(frozen=True)
class Variation:
    """A healthy target: what it is, shell that makes it so, and shell that fails if it was not so.

    The latter is asked after the gate. Container 950 comes from the template without Docker, 951
    from the one with it; for the plan ``plain`` helper scripts would have made 950. ``but`` are
    scenarios that are not asked, because they apply the plan.
    """

    id: str
    title: str
    make: str = ""
    proof: str = "true"
    ctid: int = CTID
    but: tuple[str, ...] = ()
    plan: str = DEFAULT_PLAN

    @property
    def start(self) -> str:
        """The state that it is made of."""
        return HEALTHY if self.plan == DEFAULT_PLAN else HELPER


#: A denial like those that are provoked here, in auditd's log.
_DENIED = 'grep -q \'apparmor="DENIED".* profile="lxc-phoenix-v2".* comm="perl" family=\' '
_AUDIT_LOG = "/var/log/audit/audit.log"

VARIATIONS = (
    Variation("plain", "a container from the template without Docker"),
    Variation("docker", "a container from the template with Docker", ctid=951),
    Variation(
        "kernel-log",
        "no auditd: denials are read from the kernel itself",
        "pkill -x auditd; sleep 1",
        "! pgrep -x auditd",
    ),
    Variation(
        "F22",
        "a neighbour under the same profile is denied something",
        _NEIGHBOUR,
        _DENIED + _AUDIT_LOG,
    ),
    Variation(
        "F22-gone",
        "a neighbour under the same profile is denied something, and stops while that is watched",
        _GONE,
        _DENIED + f"{_AUDIT_LOG} && pct status 952 | grep -qx 'status: stopped'",
    ),
    Variation(
        "stopped",
        "another container under the profile is stopped",
        _STOPPED,
        "pct status 953 | grep -qx 'status: stopped'",
    ),
    Variation(
        "booleans",
        "features and unprivileged are said in Proxmox's other words for 1",
        "pct stop $ctid; sed -i '/^features:/s/=1/=yes/2; /^features:/s/=1/=TRUE/2; "
        's/^unprivileged: .*/unprivileged: on/\' "$conf"; pct start $ctid; settled',
        "grep -q '^features:.*=yes.*=TRUE' \"$conf\"",
    ),
    Variation(
        "application",
        "the file has what Proxmox writes for an image of an application, and what is harmless",
        "pct stop $ctid; sed -i '1i lxc.init.uid: 0\\nlxc.init.gid: 0\\nlxc.init.groups: 0\\n"
        'newer: 1\' "$conf"; pct start $ctid; settled',
        'grep -q "^lxc.init.uid: 0" "$conf"',
    ),
    Variation(
        "noisy",
        "the log is noisy",
        "systemd-run -q --unit=noise sh -c "
        "'while :; do auditctl -m noise; logger noise; sleep 0.1; done'",
        f"test $(grep -c noise {_AUDIT_LOG}) -gt 20",
    ),
    Variation(
        "old",
        "the container was denied something, before anybody watched",
        "inside perl -e 'socket(my $s, 38, 5, 0)'; sleep 1",
        _DENIED + _AUDIT_LOG,
    ),
    Variation(
        "bom",
        "Docker's settings begin with a byte order mark, as Windows' editors write one",
        'inside sh -ec \'mark() { printf "\\357\\273\\277"; cat "$1"; }; '
        'mark "$1" >"$1.new"; mv "$1.new" "$1"; systemctl restart docker\' mark "$settings"',
        'inside cat "$settings" | LC_ALL=C grep -q "^$(printf \'\\357\\273\\277\'){" && '
        "inside systemctl is-active docker",
    ),
    Variation(
        "wait-online",
        "the guest waits in vain for a network manager that manages nothing",
        _WAITS,
        "inside systemctl is-failed systemd-networkd-wait-online.service",
    ),
    Variation(
        "two-ranges",
        "the container's ids are the usual ones, in two ranges",
        "for each in u g; do printf 'lxc.idmap: %s\\n' \"$each 0 100000 1000\" "
        '"$each 1000 101000 64536" >>"$conf"; done; restart',
        'test "$(wc -l <"/proc/$(lxc-info -n "$ctid" -p -H)/uid_map")" = 2',
    ),
    Variation(
        "F04",
        "keyrings are off, as Proxmox has it by default",
        "sed -i '/^features:/s/keyctl=1/keyctl=0/' \"$conf\"; restart",
        "inside perl -e 'exit(syscall(250, 0, -1, 1) < 0 && $! == 38 ? 0 : 1)'",
        but=("again", "profile-back", "docker-back"),
    ),
    Variation(
        "F08-features",
        "Proxmox mounts /sys writable, and lets file systems be mounted, because features say so",
        "sed -i '/^features:/s/$/,force_rw_sys=1,mount=nfs;cifs/' \"$conf\"; restart",
        "grep -q '^lxc.mount.auto = sys:rw' /var/lib/lxc/$ctid/config",
        but=("again", "profile-back", "docker-back"),
    ),
    Variation(
        "F08-seccomp",
        "a zombie is left, and the container's own seccomp list refuses more than LXC's",
        "(cat /usr/share/lxc/config/common.seccomp; echo 'socket errno 97 [0,38,SCMP_CMP_EQ]') "
        ">/etc/lxc/own.seccomp; echo 'lxc.seccomp.profile: /etc/lxc/own.seccomp' >>\"$conf\"; "
        "printf '%s\\n' '[Service]' 'ExecStart=/usr/bin/perl -e \"fork or exit; sleep 9999\"' "
        "'[Install]' WantedBy=multi-user.target | into /etc/systemd/system/zombie.service; "
        "inside systemctl enable -q zombie; restart",
        "! inside perl -e 'exit !socket(S, 38, 5, 0)' && inside sh -c 'ps -eo stat | grep ^Z'",
    ),
    Variation(
        "bind",
        "a directory of the node is mounted, and no backup of the container holds it",
        "mkdir -p /srv/data; "
        "sed -i '1i lxc.mount.entry: /srv/data data none bind,create=dir 0 0' \"$conf\"; restart",
        "inside findmnt /data",
    ),
    Variation(
        "named-node",
        "auditd writes the node's name into each record",
        "sed -i 's/^name_format.*/name_format = hostname/' /etc/audit/auditd.conf; "
        "pkill -HUP -x auditd; sleep 1",
        f"tail -n 20 {_AUDIT_LOG} | grep -q '^node='",
    ),
    Variation(
        "churn",
        "the machine and its Docker are busy with themselves",
        _CHURN,
        "inside systemctl is-active churn && systemctl is-active churn",
    ),
    Variation(
        "slow",
        "the machine is slow: something else takes its processors",
        "for each in 1 2; do systemd-run -q --unit=load$each sh -c 'while :; do :; done'; done",
        "systemctl is-active load1 && systemctl is-active load2",
    ),
    Variation(
        "nesting-alone",
        "nesting is the only feature, and Docker has its default driver",
        "sed -i 's/^features: .*/features: nesting=1/' \"$conf\"; restart",
        "inside docker info -f '{{.Driver}}' | grep -x overlay2 && "
        "inside perl -e 'exit(syscall(250, 0, -1, 1) < 0 && $! == 38 ? 0 : 1)'",
        plan="plain",
    ),
    Variation(
        "fuse-generated",
        "Docker has fuse-overlayfs, under the profile that LXC generates",
        "sed -i '/^features:/s/$/,fuse=1/' \"$conf\"; restart; "
        "inside sh -c 'apt-get -q update && apt-get install -qy fuse-overlayfs' >/dev/null; "
        'inside sed -i \'1s/{/{"storage-driver": "fuse-overlayfs", /\' "$settings"; restart_docker',
        "inside docker info -f '{{.Driver}}' | grep -x fuse-overlayfs",
        plan="plain",
    ),
    Variation(
        "own-profile",
        "the container's file names an enforced profile of the node's own",
        "own_profile; restart",
        "grep -x 'lxc-own (enforce)' \"/proc/$(lxc-info -n $ctid -p -H)/attr/apparmor/current\"",
        plan="plain",
    ),
)


def in_turn(number: int) -> Iterator[Variation]:
    """Return so many variations, each in its turn."""
    return itertools.islice(itertools.cycle(VARIATIONS), number)


def asked(but: tuple[str, ...] = (), plan: str = DEFAULT_PLAN) -> tuple[str, ...]:
    """Return a plan's scenarios that can be asked of a container that exists, by id, but some."""
    return tuple(
        name
        for name, scenario in scenarios().items()
        if scenario.is_of(plan_file.find(plan)) and not scenario.rehearses and name not in but
    )
