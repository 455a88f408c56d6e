"""Who started whom on a node, noted while a log is watched.

A denial names a process that is gone when the log is read. Its profile may be shared, so whose it
was is known by its ancestors, of which one still lives: a container's systemd, dockerd, a shell.
Source: the kernel's process events, include/uapi/linux/cn_proc.h and connector.h.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from remediation.errors import RemediationError
from remediation.transport import at_most

if TYPE_CHECKING:
    from remediation.transport import Hold, Transport

#: Notes each new process and its parent until its input ends; then writes them down.
_NOTE = r"""
use strict;
my ($netlink, $datagram, $connector, $process_events) = (16, 2, 11, 1);
socket(my $events, $netlink, $datagram, $connector) or die "process events: $!\n";
bind($events, pack "SSLL", $netlink, 0, $$, $process_events) or die "process events: $!\n";
my $listen = pack "LLLLSSL", $process_events, 1, 0, 0, 4, 0, 1;
send($events, pack("LSSLL", 16 + length $listen, 3, 0, 0, $$) . $listen, 0) or die "$!\n";
$| = 1;
print "noting\n";
my %parent;
while (1) {
    my $ready = "";
    vec($ready, fileno $_, 1) = 1 for $events, *STDIN;
    select $ready, undef, undef, undef;
    if (vec $ready, fileno $events, 1) {
        next unless defined recv $events, my $event, 512, 0;  # too many at once: some are lost
        my ($what, undef, $by, $thread, $new) = unpack "x36 L x12 L4", $event;
        $parent{$new} = $by if $what == 1 && $new == $thread;
    } elsif (vec $ready, fileno STDIN, 1) {
        last unless sysread STDIN, my $said, 512;
    }
}
open my $file, ">", $ARGV[0] or die "$ARGV[0]: $!\n";
print $file "$_ $parent{$_}\n" for keys %parent;
"""
#: A process is some ten bytes long.
_LONGEST = 16 << 20
_TAKE = 'cat -- "$1" && rm -- "$1"'


class Lineage:
    """Notes who starts whom on a node, from when this is made until :meth:`parents`.

    Where that cannot be noted (no perl, no such events in the kernel) it knows of nobody.
    """

    def __init__(self, node: Transport) -> None:
        self._node = node
        self._file = f"/run/docker-lxc-gate.{secrets.token_hex(8)}"
        self._notes: Hold | None = None
        self._parents: dict[int, int] = {}
        try:
            self._notes = node.hold(["perl", "-e", _NOTE, self._file], "noting")
        except RemediationError:
            return

    def parents(self) -> dict[int, int]:
        """Stop noting; return the parent of each process that was started, by its pid."""
        if self._notes is not None:
            self._notes.release()
            self._notes = None
            with at_most(_LONGEST):
                noted = self._node.run(["sh", "-c", _TAKE, "take", self._file])
            pairs = [line.split() for line in noted.text.splitlines()]
            self._parents = {int(child): int(parent) for child, parent in pairs}
        return self._parents
