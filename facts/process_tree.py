"""The container of each process on a node, noted while the gate watches the log.

A denial names a process that may be gone when the log is read, perhaps with its whole container.
Several containers may share its profile. So a program on the node notes, while the process lives,
its cgroup (inherited from its parent) and its ancestors. Source: the kernel's process events,
include/uapi/linux/cn_proc.h and connector.h; cgroups(7).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from targets.errors import FactError, RemediationError
from targets.transport import at_most

if TYPE_CHECKING:
    from collections.abc import Mapping

    from targets.transport import Hold, Transport

#: The limit of noted processes, because a container can start any number.
_MOST = 200_000
#: Notes each new process, its parent, its container and the container's profiles until its input
#: ends; then writes the notes to a file. It reads the cgroup of each process at the beginning, at
#: the end, and when a process runs another program; children inherit it. Without the kernel's
#: process events, it notes the beginning and the end only.
_NOTE = rf"""
use strict;
my ($netlink, $datagram, $connector, $process_events) = (16, 2, 11, 1);
my (%parent, %now, %ever, %label);
sub content {{ open my $file, "<", $_[0] or return ""; local $/; my $all = <$file>; $all // "" }}
sub look {{
    my ($pid) = @_;
    my ($home) = content("/proc/$pid/cgroup") =~ m{{/lxc(?:\.payload\.|/)([^/\s]+)}} or return;
    $now{{$pid}} = $home;
    $ever{{$pid}}{{$home}} = 1;
    my $label = content("/proc/$pid/attr/apparmor/current") || content("/proc/$pid/attr/current");
    $label{{$home}}{{$1}} = 1 if $label =~ /^([^\s\0]+)/;
}}
sub look_around {{ opendir my $all, "/proc" or return; look($_) for grep /^[0-9]+$/, readdir $all }}
my $events;
my $listens = socket($events, $netlink, $datagram, $connector)
    && bind($events, pack "SSLL", $netlink, 0, $$, $process_events);
if ($listens) {{
    my $listen = pack "LLLLSSL", $process_events, 1, 0, 0, 4, 0, 1;
    my $header = pack "LSSLL", 16 + length $listen, 3, 0, 0, $$;
    setsockopt($events, 1, 33, pack "l", 8 << 20);  # SOL_SOCKET, SO_RCVBUFFORCE
    $listens = send($events, $header . $listen, 0);
}}
look_around();
$| = 1;
print "noting\n";
my $whole = $listens ? 1 : 0;
while (1) {{
    my $ready = "";
    vec($ready, fileno STDIN, 1) = 1;
    vec($ready, fileno $events, 1) = 1 if $listens;
    select $ready, undef, undef, undef;
    if ($listens and vec $ready, fileno $events, 1) {{
        my $told = recv $events, my $event, 512, 0;
        $whole = 0, look_around(), next unless defined $told;  # overrun: some events are lost
        my ($what, undef, $by, $thread, $new) = unpack "x36 L x12 L4", $event;
        if ($what == 1 and $new == $thread) {{
            $whole = 0, next if keys %parent >= {_MOST};
            $parent{{$new}} = $by;
            delete $now{{$new}};
            next unless defined $now{{$by}};
            $now{{$new}} = $now{{$by}};
            $ever{{$new}}{{$now{{$by}}}} = 1;
        }} elsif ($what == 2) {{
            look($by);
        }}
    }} elsif (vec $ready, fileno STDIN, 1) {{
        last unless sysread STDIN, my $said, 512;
    }}
}}
look_around();
open my $file, ">", $ARGV[0] or die "$ARGV[0]: $!\n";
print $file "whole $whole\n";
print $file "parent $_ $parent{{$_}}\n" for keys %parent;
for my $pid (keys %ever) {{ print $file "process $pid $_\n" for keys %{{$ever{{$pid}}}} }}
for my $home (keys %label) {{ print $file "profile $home $_\n" for keys %{{$label{{$home}}}} }}
"""
#: Limit for the notes (bytes): a process takes some ten.
_LONGEST = 16 << 20
_TAKE = 'cat -- "$1" && rm -- "$1"'


@dataclass(frozen=True)
class ProcessNotes:
    """Notes on the processes of a node.

    Attributes:
        whole: whether every started process was noted.
        parents: the parent of each started process, by its pid.
        containers: the containers of each pid; several, if the kernel reused the pid.
        profiles: the profiles of a container's processes, by the container.
    """

    whole: bool = False
    parents: Mapping[int, int] = field(default_factory=dict)
    containers: Mapping[int, frozenset[str]] = field(default_factory=dict)
    profiles: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def containers_under(self, profile: str) -> frozenset[str]:
        """Return the containers that had a process under a profile."""
        return frozenset(name for name, labels in self.profiles.items() if profile in labels)


def parse(text: str) -> ProcessNotes:
    """Parse the notes of the program on the node.

    Raises:
        FactError: the notes cannot be read.
    """
    try:
        return _parsed(text)
    except ValueError as error:
        raise FactError(f"the notes of the node's processes cannot be read: {error}") from error


def _parsed(text: str) -> ProcessNotes:
    parents: dict[int, int] = {}
    containers: dict[int, set[str]] = {}
    profiles: dict[str, set[str]] = {}
    whole = False
    for line in text.splitlines():
        match line.split(" "):
            case ["whole", said]:
                whole = said == "1"
            case ["parent", child, parent]:
                parents[int(child)] = int(parent)
            case ["process", pid, name]:
                containers.setdefault(int(pid), set()).add(name)
            case ["profile", name, label]:
                profiles.setdefault(name, set()).add(label)
    return ProcessNotes(
        whole,
        parents,
        {pid: frozenset(names) for pid, names in containers.items()},
        {name: frozenset(labels) for name, labels in profiles.items()},
    )


class ProcessWatch:
    """Notes the container of each process on a node, from construction until :meth:`notes`.

    On a node without perl the notes are empty.
    """

    def __init__(self, node: Transport) -> None:
        self._node = node
        self._file = f"/run/docker-lxc-gate.{secrets.token_hex(8)}"
        self._program: Hold | None = None
        self._notes = ProcessNotes()
        try:
            self._program = node.hold(["perl", "-e", _NOTE, self._file], "noting")
        except RemediationError:
            return

    def notes(self) -> ProcessNotes:
        """Stop the program, and return its notes."""
        if self._program is not None:
            self._program.release()
            self._program = None
            with at_most(_LONGEST):
                noted = self._node.run(["sh", "-c", _TAKE, "take", self._file])
            self._notes = parse(noted.text)
        return self._notes
