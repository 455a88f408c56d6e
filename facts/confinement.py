"""How the processes of a container are confined: by label, by attempt, and by the profile's text.

Sources: apparmor.d(5); kernel ``security/apparmor/{lsm,procattr,domain}.c``; cgroups(7).
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from targets import guest_root
from targets.errors import FactError

if TYPE_CHECKING:
    from facts.audit_records import Denial
    from targets.runtime.base import Runtime
    from targets.transport import CommandResult, Transport

#: Prints the name and the label of each thread in the cgroups of a container: a label is a
#: thread's, not a process's. A thread that ends while it is read is left out. So are told those in
#: its pid or user namespace: who enters from the node (nsenter) is in no cgroup of the container's.
_PROCESSES = r"""
# The first of the names: below it the guest makes cgroups as it likes, also of such a name.
path=$(sed -nE 's#^[0-9]+:(name=systemd)?:/#/#; T; s#(/lxc(\.payload\.|/)[^/]+).*$#\1#p' \
    "/proc/$1/cgroup" | tail -n 1)
[ -n "$path" ] || { echo "no cgroup of LXC's: $(cat "/proc/$1/cgroup")" >&2; exit 4; }
label=attr/apparmor/current
[ -e "/proc/self/$label" ] || label=attr/current
inside() {
    for kind in pid user; do
        its=/proc/$1/ns/$kind
        [ "$its" -ef "/proc/self/ns/$kind" ] ||
            find -L /proc/[0-9]*/ns/"$kind" -maxdepth 0 -samefile "$its" 2>/dev/null
    done | while IFS=/ read -r _ _ pid _; do
        for task in "/proc/$pid/task"/[0-9]*; do echo "${task##*/}"; done
    done
}
threads=$({
    for root in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
        [ ! -d "$root$path" ] ||
            find "$root$path" \( -name cgroup.threads -o -name tasks \) -exec cat {} + 2>/dev/null
    done
    inside "$1"
} | grep -x '[0-9]*' | sort -nu)
for each in $threads; do echo "/proc/$each/comm /proc/$each/$label"; done | xargs grep -asH ''
for each in $threads; do [ ! -d "/proc/$each" ] || echo "alive $each"; done
"""
_LINE = re.compile(r"^/proc/([0-9]+)/(comm|attr)[^:]*:(.*)$", re.MULTILINE)
_ALIVE = re.compile(r"^alive ([0-9]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Process:
    """One thread of a container: its number on the node, its name, and its label with its mode."""

    pid: int
    name: str
    label: str


def processes(node: Transport, init_pid: int) -> tuple[Process, ...]:
    """Return every thread of a container, by its number, in one round trip.

    Args:
        node: where the container runs.
        init_pid: its first process, as the node numbers it.

    Raises:
        FactError: the first process is not among them, or a label cannot be read.
    """
    told = node.look(["sh", "-c", _PROCESSES, "processes", str(init_pid)])
    names: dict[int, str] = {}
    labels: dict[int, str] = {}
    for pid, kind, value in _LINE.findall(told.text):
        of_kind = names if kind == "comm" else labels
        of_kind.setdefault(int(pid), value)
    unread = sorted(int(pid) for pid in _ALIVE.findall(told.text) if int(pid) not in labels)
    if init_pid not in labels or unread:
        what = f"the label of process {unread[0]}" if unread else f"process {init_pid}"
        why = told.stderr.decode(errors="replace").strip() or "nothing was said of it"
        raise FactError(
            f"the labels of the container's processes were read from their cgroup on "
            f"{node.machine}, and {what} could not be read: {why}"
        )
    return tuple(Process(pid, names.get(pid, "?"), labels[pid]) for pid in sorted(labels))


def stranger(label: str, profile: str) -> str:
    """Return what is wrong with a label in a container under a profile; empty if nothing is.

    A stack is confined by each of its profiles: one of them has to be the container's. A child of
    the profile is none that the plan ships.
    """
    found = re.fullmatch(r"(.*?)(?: \((\w+)\))?", label, re.DOTALL)
    name, mode = found.groups() if found else (label, None)
    parts = name.split("//&")
    if profile in parts:
        fine = {"enforce"} if len(parts) == 1 else {"enforce", "mixed", None}
        return "" if mode in fine else meaning(mode or "unknown")
    if name == "unconfined":
        return "unconfined"
    if any(part.startswith(f"{profile}//") for part in parts):
        return f"under '{label}', a child that the plan's profile does not have"
    return f"under '{label}', which the plan does not know"


def meaning(mode: str) -> str:
    """Return what a mode other than enforce means for what runs under a profile."""
    return {
        "complain": "in complain mode, which notes what it would refuse and lets it happen",
        "kill": (
            "in kill mode, which confines, and kills a process instead of refusing it; "
            "the plan's profile enforces"
        ),
        "unconfined": "in unconfined mode, which refuses next to nothing",
        "prompt": (
            "in prompt mode, which asks a program on the node what to allow; "
            "the plan's profile enforces"
        ),
        "user": (
            "in prompt mode, which asks a program on the node what to allow; "
            "the plan's profile enforces"
        ),
    }.get(mode, f"in {mode} mode, which is not known here; the plan's profile enforces")


#: The name under which attempts are made: it stands in the records of their denials.
ATTEMPTING = "gate-attempt"
#: What a container under the plan's profile is refused by AppArmor and by nothing else before it:
#: without the profile each of these is allowed to the root of an unprivileged container. (Not so
#: /proc/kcore and the like: their owner is no user of the container, so the kernel refuses them
#: with the same error, and a look at their state is allowed by every profile.) None of them
#: changes anything, should it be allowed: a directory and a socket that are closed, a change of a
#: process that ends, a mount in a namespace that ends with it.
ATTEMPTS = {
    "firmware": "list the node's firmware, below /sys/firmware",
    "profile": "change to another profile",
    "network": "open a socket of a family that Docker does not need (xdp)",
    "mount": "bind /proc to another place, where the profile's rules for it do not hold",
}
#: Made by a program of the node's, which enters what the container is confined by: the profile of
#: its first process, its network, user and mount namespaces, as its root. None of the container's
#: programs is run, whose word would be the guest's. Each attempt is a child's, since a profile in
#: kill mode kills it; it ends with its errno. Nothing is loaded once the guest's files are there.
#: Source: setns(2), mount(2), LXC's attach.c.
_ATTEMPT = (
    guest_root.PRELUDE
    + rf"""
use POSIX ();
my ($clone_mounts, $unshare, $setns, $mount) = (0x20000, 272, 308, 165);
my ($bind, $apart) = (0x1000 | 0x4000, 0x4000 | 0x40000);
my $node = opened($cwd, "/proc", $path_only, 0);
sub attribute {{
    my ($of, $flags) = @_;
    for my $place ("$of/attr/apparmor/current", "$of/attr/current") {{
        my $found = opened($node, $place, $flags, 0);
        return $found if $found >= 0;
    }}
    return -1;
}}
my @home = map {{ opened($process, "ns/$_", 0, 0) }} qw(net user mnt);
refuse("process $pid has ended") if grep {{ $_ < 0 }} @home;
POSIX::read(attribute($pid, 0), my $label, 4096) or refuse("the label of process $pid: $!");
$label =~ s/(?: \(\w+\))?\n?\z//;
sub enter {{
    $SIG{{ALRM}} = "DEFAULT";  # a handler would wait for a file system of the guest's
    alarm {guest_root.PATIENCE // 2};
    if ($label ne "unconfined") {{
        my $said = "changeprofile $label";
        POSIX::write(attribute("self", 1), $said, length $said) or refuse("enter $label: $!");
    }}
    for my $space (@home) {{ syscall($setns, $space, 0) == 0 or refuse("enter a namespace: $!") }}
    POSIX::setgid(0) and POSIX::setuid(0) or refuse("become its root: $!");
}}
sub look {{
    opendir(my $all, "/sys/firmware") or return $! + 0;
    my ($place) = grep {{ -d }} map {{ "/sys/firmware/$_" }} grep {{ !/^\./ }} readdir $all;
    defined $place or return 2;  # ENOENT: this machine shows none
    opendir(my $one, $place) ? 0 : $! + 0;
}}
sub change {{
    my ($said, $own) = ("changeprofile unconfined", attribute("self", 1));
    return $! + 0 if $own < 0;
    defined POSIX::write($own, $said, length $said) ? 0 : $! + 0;
}}
sub bind_proc {{
    my ($proc, $etc, $root, $none) = map {{ "$_\0" }} "/proc", "/etc", "/", "none";
    syscall($unshare, $clone_mounts) == 0 or return $! + 0;
    syscall($mount, $none, $root, 0, $apart, 0);
    syscall($mount, $proc, $etc, 0, $bind, 0) == 0 ? 0 : $! + 0;
}}
my %attempt = (
    firmware => \&look,
    profile => \&change,
    network => sub {{ socket(my $one, 44, 3, 0) ? 0 : $! + 0 }},
    mount => \&bind_proc,
);
$0 = "{ATTEMPTING}"; $| = 1;
for my $name (sort keys %attempt) {{
    my $child = fork // die "fork: $!\n";
    if (not $child) {{ enter(); POSIX::_exit($attempt{{$name}}->()) }}
    waitpid $child, 0;
    exit {guest_root.UNTOLD} if $? >> 8 == {guest_root.UNTOLD};  # it has said why
    printf "%s %d %d\n", $name, $? >> 8, $? & 127;
}}
"""
)
_EACCES = 13
#: A machine without firmware to look at: nothing to refuse.
_NOTHING_THERE = ("firmware", 2, 0)


def allowed(runtime: Runtime, ctid: int) -> tuple[str, ...]:
    """Return which of :data:`ATTEMPTS` a container is allowed, by trying each as its root.

    Raises:
        FactError: one of them could not be made, so nobody knows.
        TransportError: the container does not run, or the node cannot be reached.
    """
    what = "what AppArmor refuses it was to be tried, and could not be"
    told = guest_root.run(runtime.node, runtime.init_pid(ctid), _ATTEMPT, what=what)
    codes = {name: (int(code), int(sig)) for name, code, sig in _outcomes(told)}
    if missing := sorted(ATTEMPTS.keys() - codes.keys()):
        raise FactError(
            f"what AppArmor refuses container {ctid} was to be tried on {runtime.node.machine}, "
            f"and nothing came of the attempt to {ATTEMPTS[missing[0]]}"
        )
    let = tuple(ATTEMPTS[name] for name in ATTEMPTS if codes[name] == (0, 0))
    unknown = [
        name
        for name, outcome in codes.items()
        if outcome != (0, 0) and not _refused(*outcome) and (name, *outcome) != _NOTHING_THERE
    ]
    if unknown and not let:
        code, sig = codes[unknown[0]]
        raise FactError(
            f"container {ctid} could not {ATTEMPTS[unknown[0]]}, but not because AppArmor "
            f"refused it (errno {code}, signal {sig}): whether it would is not known"
        )
    return let


def _outcomes(told: CommandResult) -> list[tuple[str, str, str]]:
    return re.findall(r"^(\w+) ([0-9]+) ([0-9]+)$", told.text, re.MULTILINE)


def _refused(code: int, sig: int) -> bool:
    return code == _EACCES or sig == signal.SIGKILL


def provoked(denial: Denial) -> bool:
    """Whether a denial is one of those that :func:`allowed` provokes.

    By what was attempted, too: a program of the guest's may call itself as it likes.
    """
    said = denial.fields
    operation, name = said.get("operation", ""), said.get("name", "")
    attempted = (
        operation == "change_profile"
        or said.get("family") == "xdp"
        or (operation == "mount" and name == "/etc/")
        or name.startswith("/sys/firmware/")
    )
    return attempted and said.get("comm") == ATTEMPTING


#: Rules that let a container out of what the rest of a profile holds it to.
_WIDENING = re.compile(
    r"""^\s*(?:(?:audit|allow|priority\s*=\s*-?[0-9]+)\s+)*(?:
        change_profile\b                                   # into another profile, or out of all
      | (?:all|file|mount|umount|remount|network|capability|ptrace|signal|unix|dbus|pivot_root)\s*,
      | mount\s.*->\s*/\*\*\s*,
      | (?:file\s+)?\S.*?\s[a-zA-Z]*?(?:[pcPC][iuU]*x|[uU]x)\s*(?:->.*)?,   # a program leaves it
      | (?:file\s+)?[rwmlka]*?(?:[pcPC][iuU]*x|[uU]x)\s.*,                  # the same, mode first
      | \#?include\b
    )""",
    re.VERBOSE,
)
_INCLUDE = re.compile(r"# ?include")
_COMMENT = re.compile(r" #(?! ?include)")
#: A rule that is longer is none that anybody wrote (characters).
_LONGEST_RULE = 4000
_FLAGS = re.compile(r"flags\s*=\s*\(([^)]*)\)")
_WIDE_FLAGS = frozenset({"unconfined", "complain", "default_allow", "prompt"})


def widening(deployed: str, local: str, profile: str, *, shipped: str) -> tuple[str, ...]:
    """Return what the deployed text allows beyond the shipped one, each with where it stands.

    Args:
        deployed: the profile's file on the node.
        local: that of the site's additions.
        profile: the profile's name.
        shipped: the profile's text as the plan ships it.
    """
    ours = _rules(shipped)
    path, here = f"/etc/apparmor.d/{profile}", _rules(deployed)
    added = [rule[:_LONGEST_RULE] for rule in here if rule not in ours]
    found = [f"{path}: {rule}" for rule in added if _WIDENING.match(rule)]
    flags = {word for said in _FLAGS.findall(deployed) for word in re.split(r"[\s,]+", said)}
    found += [f"{path}: flags=({flag})" for flag in sorted(flags & _WIDE_FLAGS)]
    lost = [rule for rule in ours if re.match(r"(audit )?deny\b", rule) and rule not in here]
    found += [f"{path} lacks: {rule}" for rule in lost if deployed.strip()]
    additions = _rules(local)
    found += [f"/etc/apparmor.d/local/{profile}: {rule}" for rule in additions]
    return tuple(found)


def _rules(text: str) -> list[str]:
    """Return a profile's rules, one a line, without comments."""
    rules: list[str] = []
    for line in text.splitlines():
        words = " ".join(line.split())
        if words.startswith("#") and not _INCLUDE.match(words):
            continue
        words = _COMMENT.split(words, maxsplit=1)[0]
        if words.startswith("->") and rules:
            rules[-1] += f" {words}"
        elif words:
            rules.append(words)
    return rules
