"""The audit log while the gate watches it: a denial may be missing; see docs/faults.md."""

from __future__ import annotations

from faults.fault import Expectation, Fault, node_fault, red, undetermined

#: A unit in the container that AppArmor denies a socket at each boot; it then leaves a marker file.
_DENIED_AT_BOOT = r"""
printf '%s\n' '[Service]' Type=oneshot 'ExecStart=/usr/bin/perl -e "socket(S, 38, 5, 0)"' \
    'ExecStartPost=/usr/bin/touch /run/denied' '[Install]' WantedBy=multi-user.target |
    into /etc/systemd/system/denied.service
inside systemctl enable -q denied.service
"""


def meanwhile(stopped: str, denied: str) -> str:
    """Return shell that runs ``stopped`` when the container stops, ``denied`` after its denial."""
    return f"""{_DENIED_AT_BOOT}
cat >/root/trick <<'END'
init() {{ lxc-info -n "$1" -p -H 2>/dev/null; }}
first=$(init "$1")
while [ -d "/proc/$first" ]; do sleep 0.1; done
{stopped}
until [ -e "/proc/$(init "$1")/root/run/denied" ]; do sleep 0.2; done
sleep 1
{denied}
END
systemd-run -q --unit=trick bash /root/trick "$ctid"
"""


def left_out(rule: str) -> dict[str, Expectation]:
    """Expect the gate to name an audit rule that may hide denials of the container."""
    told = "leaves out records that may be denials of the container"
    return undetermined("log", "leaves out records", rule, told) | undetermined("denials", told)


_WRITE = "sed -i 's/^write_logs.*/write_logs = {}/' /etc/audit/auditd.conf; pkill -HUP -x auditd"
_FLOOD = (
    "auditctl -r 1 >/dev/null; systemd-run -q --unit=flood perl -e "
    '\'while (1) { open my $f, ">", "/proc/self/attr/exec"; syswrite $f, "exec flood" }\''
)
#: A process under the profile in another container's cgroup, denied a socket each second.
_ANOTHERS = """
mkdir -p /sys/fs/cgroup/lxc/952
systemd-run -q --unit=another sh -c 'echo $$ >/sys/fs/cgroup/lxc/952/cgroup.procs
exec aa-exec -p "$0" -- perl -e "while (1) { socket(S, 38, 5, 0); sleep 1 }"' "$profile"
"""
#: Ends the program that notes processes, each time that the gate starts it.
_ENDED = """
systemd-run -q --unit=ended sh -c 'while sleep 1; do pkill -f "^perl.*[p]rocess_events"; done'
"""
_RED = ("AppArmor denied container {ctid}", "to allow it: network alg")

FAULTS = (
    Fault(
        "F22-unnoted",
        "a neighbour under the profile is denied something, and the notes on processes are lost",
        _ANOTHERS + _ENDED,
        expect=undetermined(
            "denials", "denial(s) cannot be attributed", "did not run to its end", "any container"
        ),
    ),
    Fault(
        "F21-uid",
        "the log leaves out the records of the container's root",
        f"{_DENIED_AT_BOOT}auditctl -a always,exclude -F msgtype=AVC -F uid=100000",
        expect=left_out("-a always,exclude -F msgtype=AVC -F uid=100000"),
    ),
    Fault(
        "F21-profile",
        "the log leaves out the records of all processes under the profile",
        f'{_DENIED_AT_BOOT}auditctl -a always,exclude -F subj_role="$profile"',
        expect=left_out("-F subj_role=lxc-phoenix-v2"),
    ),
    Fault(
        "F21-restarted",
        "auditd is stopped while the container boots, and started again",
        meanwhile("systemctl stop auditd", "systemctl start auditd"),
        expect=red("denials", *_RED, "another auditd took the records in the window"),
    ),
    Fault(
        "F21-restarted-quietly",
        "auditd is restarted while the container boots, and no denial is known",
        meanwhile("systemctl restart auditd", ":").replace("socket(S, 38, 5, 0)", "1"),
        expect=undetermined(
            "denials", "another auditd took the records in the window", "is not known for certain"
        ),
    ),
    Fault(
        "F21-cut",
        "the log is truncated in place after the denial",
        meanwhile(":", ": >/var/log/audit/audit.log"),
        expect=red("denials", *_RED, "was cut in the window"),
    ),
    Fault(
        "F21-unwritten",
        "auditd writes no log while the container boots, and then writes it again",
        meanwhile(_WRITE.format("no"), _WRITE.format("yes")),
        expect=red("denials", *_RED, "auditd was started, stopped or reconfigured in the window"),
    ),
    Fault(
        "F21-reset",
        "records are lost while the container boots, and the count of lost records is reset",
        meanwhile(_FLOOD, "systemctl stop flood; auditctl -r 0 >/dev/null; auditctl --reset-lost"),
        expect=undetermined(
            "denials",
            "count of lost audit records was reset in the window",
            "auditctl --reset-lost",
        ),
    ),
    node_fault(
        "F21-suspended",
        "auditd is suspended",
        "pkill -STOP -x auditd",
        expect=undetermined("log", "auditd (process ", "is suspended", "kill -CONT ")
        | undetermined("denials", "is suspended"),
    ),
    node_fault(
        "F21-quiet",
        "AppArmor is told to record nothing",
        "printf quiet >/sys/module/apparmor/parameters/audit",
        expect=undetermined(
            "log", "did not come from /var/log/audit/audit.log", "silence says nothing"
        ),
        also=("denials",),
    ),
)
