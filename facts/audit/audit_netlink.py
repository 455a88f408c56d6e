"""The kernel's audit: its state, and its records as the kernel sends them.

Without auditd the kernel prints at most ten records in five seconds, and drops the others. It also
sends every record to a multicast group, which has no limit. Switching that off leaves a record.
Source: kernel/audit.c (kauditd_thread, kauditd_printk_skb), kernel/auditfilter.c,
include/uapi/linux/audit.h.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from targets.errors import CommandFailed, FactError
from targets.transport import at_most

if TYPE_CHECKING:
    from targets.transport import CommandResult, Hold, Transport

_SOCKET = r"""
use strict;
my ($netlink, $raw, $audit) = (16, 3, 9);
socket(my $kernel, $netlink, $raw, $audit) or die "the kernel's audit: $!\n";
"""
#: Reads ``struct audit_status``: its fourth number is the process that receives the records
#: (auditd), its seventh the number of lost records.
_STATUS = r"""
sub status {
    my ($socket) = @_;
    my ($get, $request) = (1000, 1);
    send($socket, pack("LSSLL", 16, $get, $request, 1, 0), 0) or die "the kernel's audit: $!\n";
    defined recv $socket, my $status, 8192, 0 or die "the kernel's audit: $!\n";
    my ($type, $reader, $lost) = unpack "x4 S x10 x12 L x8 L", $status;
    die "the kernel's audit sent no status\n" unless $type == $get;
    return ($reader, $lost);
}
"""
#: The prefix of each line of the notes that is not a record.
REMARK = "docker-lxc-gate: "
#: Marks the place in the notes where records were lost: too many at once, or no room left.
GAP = f"{REMARK}records were lost here"
#: The limit for the notes in /run, which is memory (bytes): some thirty thousand denials.
_ROOM = 8 << 20
#: The program ends by itself after this (seconds): sshd may take hours to notice a lost connection.
_LONGEST = 4 * 3600
#: Writes each denial to a file until its input ends, and then deletes the file, unless it is
#: killed. It also writes each change of the audit configuration and of AppArmor's policy. Five
#: times a second it looks for another process that receives the records, a count of lost records
#: that goes down, a log that shrinks, and changed settings of AppArmor. It writes no other records,
#: because those hold command lines, and so secrets.
_NOTE = rf"""{_SOCKET}{_STATUS}
my ($notes, $log) = @ARGV;
my ($read_log, $config_change, $feature_change) = (1, 1305, 1328);
bind($kernel, pack "SSLL", $netlink, 0, 0, $read_log) or die "the kernel's audit: $!\n";
setsockopt($kernel, 1, 33, pack "l", 8 << 20);  # SOL_SOCKET, SO_RCVBUFFORCE: room for a burst
socket(my $asked, $netlink, $raw, $audit) or die "the kernel's audit: $!\n";
setsockopt($asked, 1, 20, pack "l!l!", 2, 0);  # SO_RCVTIMEO: do not block the reading of records
umask 077;
$SIG{{$_}} = sub {{ exit 1 }} for qw(TERM HUP INT PIPE ALRM);
open my $file, ">", $notes or die "$notes: $!\n";
END {{ unlink $notes if $file }}
alarm {_LONGEST};
$_->autoflush for $file, *STDOUT;
my $room = {_ROOM};
sub note {{
    my ($line) = @_;
    return if $room < 0;
    $line =~ tr/\n/ /;
    $room -= length $line;
    print $file $room < 0 ? "{GAP}" : $line, "\n" or die "$notes: $!\n";
}}
my ($reader, $lost, $inode, $size, %parameter);
sub look {{
    for my $name (qw(audit mode)) {{
        open my $in, "<", "/sys/module/apparmor/parameters/$name" or next;
        my ($now) = (<$in> // "") =~ /(\w+)/ or next;
        my $was = $parameter{{$name}} // $now;
        note("{REMARK}parameter $name $was $now") if $was ne $now;
        $parameter{{$name}} = $now;
    }}
    my ($now, $count) = eval {{ status($asked) }} or return;
    note("{REMARK}reader $reader $now") if defined $reader and $now != $reader;
    note("{REMARK}reset $lost $count") if defined $lost and $count < $lost;
    ($reader, $lost) = ($now, $count);
    my ($here, $long) = (stat $log)[1, 7];
    note("{REMARK}shrank $size $long")
        if defined $here and defined $inode and $here == $inode and $long < $size;
    ($inode, $size) = ($here, $long);
}}
look();
print "noting\n";
my $last = time;
while (1) {{
    my $ready = "";
    vec($ready, fileno $_, 1) = 1 for $kernel, *STDIN;
    my $many = select $ready, undef, undef, 0.2;
    look(), $last = time if not $many or time != $last;
    next unless $many;
    last if vec($ready, fileno STDIN, 1) and not sysread STDIN, my $said, 512;
    next unless vec $ready, fileno $kernel, 1;
    note("{GAP}"), next unless defined recv $kernel, my $record, 65536, 0;
    my ($type, $line) = unpack "x4 S x10 Z*", $record;
    note($line) if $line =~ /apparmor="DENIED"/;
    note("{REMARK}policy $line") if $line =~ /apparmor="STATUS" operation="profile_/;
    note("{REMARK}changed $line") if $type == $config_change or $type == $feature_change;
}}
"""
#: Prints the state, and the rules of the list ``exclude`` (the fifth) as ``auditctl -l`` does.
STATE = rf"""{_SOCKET}{_STATUS}
my ($log) = @ARGV;
my ($list, $request, $error, $exclude) = (1013, 1, 2, 5);
my ($reader, $lost) = status($kernel);
print "lost $lost\nreader $reader\n";
my %name = (0 => "pid", 1 => "uid", 5 => "gid", 9 => "auid", 12 => "msgtype", 13 => "subj_user",
    14 => "subj_role", 15 => "subj_type", 16 => "subj_sen", 17 => "subj_clr", 25 => "sessionid",
    26 => "saddr_fam", 112 => "exe", 210 => "key");
my %text = map {{ $_ => 1 }} 13 .. 17, 19 .. 23, 105, 107, 112, 210;
my %sign = (4 => "=", 3 => "!=", 1 => "<", 2 => ">", 5 => "<=", 6 => ">=");
send($kernel, pack("LSSLL", 16, $list, $request, 2, 0), 0) or die "the kernel's audit: $!\n";
while (defined recv $kernel, my $answer, 65536, 0) {{
    my $type = unpack "x4 S", $answer;
    die "the kernel's audit sent no rules\n" if $type == $error;
    last unless $type == $list;
    my ($where, $action, $count, @rest) = unpack "x16 L3 x256 L64 L64 L64 L a*", $answer;
    next unless ($where & 15) == $exclude;
    my ($words, @said) = ($rest[193], $action ? "-a always,exclude" : "-a never,exclude");
    for my $each (0 .. $count - 1) {{
        my ($field, $value, $how) = @rest[$each, 64 + $each, 128 + $each];
        my $sign = $sign{{$how >> 28}} || "&";
        $value = substr $words, 0, $value, "" if $text{{$field}};
        $value = "AVC" if $field == 12 and $value eq "1400";
        push @said, "-F " . ($name{{$field}} || "field$field") . "$sign$value";
    }}
    print "rule @said\n";
}}
if ($reader and open my $stat, "<", "/proc/$reader/stat") {{
    my ($name, $rest) = <$stat> =~ /\((.*)\) (.*)/s;
    my ($state, $started) = (split " ", $rest)[0, 19];
    print "process $state $started $name\n";
}}
my ($inode, $size) = (stat $log)[1, 7];
print "log $inode $size\n" if defined $size;
"""
#: The same of a node without perl, by auditd's own tools.
ASK = """
if command -v perl >/dev/null; then exec perl -e "$2" "$1"; fi
status=$(auditctl -s) || exit
printf '%s\\n' "$status" | sed -n 's/^pid /reader /p; /^lost /p'
rules=$(auditctl -l) || exit
printf '%s\\n' "$rules" | sed -n 's/^-[aA] [a-z]*,exclude/rule &/p; s/^-[aA] exclude,/rule &/p'
reader=$(printf '%s\\n' "$status" | sed -n 's/^pid //p')
sed -n 's/^[0-9]* (\\(.*\\)) \\(.*\\)/\\2 \\1/p' "/proc/$reader/stat" 2>/dev/null |
    while read -r line; do
        set -- "$1" $line
        echo "process $2 ${21} $(cat "/proc/$reader/comm")"
    done
stat -c 'log %i %s' "$1" 2>/dev/null || :
"""


@dataclass(frozen=True)
class State:
    """The kernel's audit at one moment.

    Attributes:
        lost: number of records that the kernel lost since boot or since a reset of the count.
        reader: pid of the process that receives the records, usually auditd; 0 if none.
        name: its program; empty if the process does not exist.
        status: its state (``R``, ``S``, ``T`` …, proc(5)); empty if the process does not exist.
        started: its start time, in clock ticks since boot.
        inode: of auditd's log; empty if the log cannot be read.
        size: of auditd's log (bytes).
        rules: the rules that drop records, as ``auditctl -l`` prints them.
    """

    lost: int
    reader: int = 0
    name: str = ""
    status: str = ""
    started: str = ""
    inode: str = ""
    size: int = 0
    rules: tuple[str, ...] = ()

    @property
    def suspended(self) -> bool:
        """Whether the process that receives the records is stopped (SIGSTOP, or a debugger)."""
        return self.status in {"T", "t"}


class Records:
    """AppArmor's denials on a node, from construction until :meth:`close`.

    A program on the node writes them to a file, and deletes it at the end or when the connection
    drops.

    Args:
        node: the node.
        log: auditd's log; the program also notes if it shrinks.

    Raises:
        FactError: the node has no perl, or we may not read the records.
        TransportError: the node cannot be reached.
    """

    def __init__(self, node: Transport, log: str = "/var/log/audit/audit.log") -> None:
        self._node = node
        self._file = f"/run/docker-lxc-gate.{secrets.token_hex(8)}"
        try:
            argv = ["perl", "-MIO::Handle", "-e", _NOTE, self._file, log]
            self._notes: Hold = node.hold(argv, "noting")
        except CommandFailed as error:
            raise _untold(error.result) from error

    def text(self) -> str:
        """Return the notes: one line for each denial, and lines that begin with REMARK.

        Raises:
            FactError: the program on the node has ended.
        """
        with at_most(2 * _ROOM):
            noted = self._node.read(self._file)
        if noted is None or not self._notes.alive():
            raise FactError(
                f"on {self._node.machine} the program that reads the kernel's audit has ended"
            )
        return noted.decode(errors="replace")

    def close(self) -> None:
        """Stop the program, if it runs; it deletes its notes."""
        self._notes.release()


def state(node: Transport, log: str = "/var/log/audit/audit.log") -> State:
    """Return the state of a node's audit, in one round trip.

    Raises:
        FactError: the node has neither perl nor auditctl, or the kernel did not answer.
        TransportError: the node cannot be reached.
    """
    told = node.look(["sh", "-c", ASK, "audit", log, STATE])
    if not told.ok:
        raise _untold(told)
    try:
        return _parsed(told.text)
    except ValueError as error:
        raise FactError(
            f"the status of the kernel's audit on {told.machine} cannot be read: {error}"
        ) from error


def _parsed(text: str) -> State:
    said: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)
    status, started, name = [*said.get("process", [""])[0].split(" ", 2), "", "", ""][:3]
    inode, size = [*said.get("log", [""])[0].split(), "", "0"][:2]
    return State(
        lost=int(said.get("lost", ["no count of lost records"])[0]),
        reader=int(said.get("reader", ["0"])[0]),
        name=name,
        status=status,
        started=started,
        inode=inode,
        size=int(size),
        rules=tuple(said.get("rule", ())),
    )


def _untold(said: CommandResult) -> FactError:
    """Return the error without the command: a reader of the verdict need not read our program."""
    why = said.stderr.decode(errors="replace").strip()
    return FactError(f"the kernel's audit cannot be read on {said.machine}: {why}")
