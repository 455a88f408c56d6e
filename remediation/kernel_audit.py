"""The kernel's audit records from the kernel itself, for a node where no auditd takes them.

Without auditd the kernel prints them, ten in five seconds, and leaves out the others: the log has
gaps where it matters. Every record also goes to a multicast group, which is not limited. Source:
kernel/audit.c (kauditd_thread, kauditd_printk_skb), include/uapi/linux/audit.h.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from remediation.errors import CommandFailed, FactError
from remediation.transport import at_most

if TYPE_CHECKING:
    from remediation.transport import CommandResult, Hold, Transport

_SOCKET = r"""
use strict;
my ($netlink, $raw, $audit) = (16, 3, 9);
socket(my $kernel, $netlink, $raw, $audit) or die "the kernel's audit: $!\n";
"""
#: Stands in the file where the kernel had more to say than was read in time, or than has room.
GAP = "docker-lxc-gate: records were lost here"
#: What a container can make us write into the node's memory, /run (bytes); some ten thousand.
_ROOM = 4 << 20
#: Nobody watches for longer: sshd may take hours to see that a connection is gone (seconds).
_LONGEST = 4 * 3600
#: Writes down each denial until its input ends, and takes the file away, unless it is killed.
#: Nothing else is written: records of other kinds hold command lines, and so secrets.
_NOTE = rf"""{_SOCKET}
my $read_log = 1;
bind($kernel, pack "SSLL", $netlink, 0, 0, $read_log) or die "the kernel's audit: $!\n";
setsockopt($kernel, 1, 33, pack "l", 8 << 20);  # SOL_SOCKET, SO_RCVBUFFORCE: room for a burst
umask 077;
$SIG{{$_}} = sub {{ exit 1 }} for qw(TERM HUP INT PIPE ALRM);
open my $file, ">", $ARGV[0] or die "$ARGV[0]: $!\n";
END {{ unlink $ARGV[0] if $file }}
alarm {_LONGEST};
$_->autoflush for $file, *STDOUT;
print "noting\n";
my $room = {_ROOM};
while (1) {{
    my $ready = "";
    vec($ready, fileno $_, 1) = 1 for $kernel, *STDIN;
    select $ready, undef, undef, undef;
    last if vec($ready, fileno STDIN, 1) and not sysread STDIN, my $said, 512;
    next unless vec $ready, fileno $kernel, 1;
    my $from = recv $kernel, my $record, 65536, 0;
    my $line = defined $from ? unpack "x16 Z*", $record : "{GAP}";
    next if $room < 0 or $line !~ /apparmor="DENIED"|{GAP}/;
    $room -= length $line;
    print $file $room < 0 ? "{GAP}" : $line, "\n" or die "$ARGV[0]: $!\n";
}}
"""
#: Asks for ``struct audit_status``, whose seventh number is how many records were lost.
_LOST = rf"""{_SOCKET}
my ($get, $request) = (1000, 1);
send($kernel, pack("LSSLL", 16, $get, $request, 1, 0), 0) or die "the kernel's audit: $!\n";
defined recv $kernel, my $status, 8192, 0 or die "the kernel's audit: $!\n";
my ($type, $lost) = unpack "x4 S x10 x24 L", $status;
die "the kernel's audit does not tell its status\n" unless $type == $get;
print "$lost\n";
"""


class Records:
    """AppArmor's denials on a node from when this is made until :meth:`close`.

    They are noted in a file on the node, which goes with this, also when the connection is cut.

    Raises:
        FactError: the node has no perl, or does not let us read.
        TransportError: the node cannot be reached.
    """

    def __init__(self, node: Transport) -> None:
        self._node = node
        self._file = f"/run/docker-lxc-gate.{secrets.token_hex(8)}"
        try:
            argv = ["perl", "-MIO::Handle", "-e", _NOTE, self._file]
            self._notes: Hold = node.hold(argv, "noting")
        except CommandFailed as error:
            raise _untold(error.result) from error

    def text(self) -> str:
        """Return what has been noted: a denial a line, and :data:`GAP` where some are missing.

        Raises:
            FactError: the noting has ended.
        """
        with at_most(2 * _ROOM):
            noted = self._node.read(self._file)
        if noted is None or not self._notes.alive():
            raise FactError(f"on {self._node.machine} the kernel's audit is not read any more")
        return noted.decode(errors="replace")

    def close(self) -> None:
        """Stop noting, if that has not been done; what was noted is gone."""
        self._notes.release()


def lost(node: Transport) -> int:
    """Return how many audit records the kernel of a node has lost since it was booted.

    Raises:
        FactError: the node has no perl, or the kernel does not tell.
        TransportError: the node cannot be reached.
    """
    told = node.run(["perl", "-e", _LOST])
    if not told.ok:
        raise _untold(told)
    return int(told.text)


def _untold(said: CommandResult) -> FactError:
    """Not with the command: a reader of the verdict need not read our program."""
    why = said.stderr.decode(errors="replace").strip()
    return FactError(f"the kernel's audit cannot be read on {said.machine}: {why}")
