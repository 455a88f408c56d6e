"""Reads from the node below a container's root, by which no link of the guest leads out of it.

Everything in that tree is the guest's: names, links, devices, sockets. A path through
``/proc/PID/root`` is no way in: an absolute link there is resolved with the *node's* root. So each
path is resolved by ``openat2`` with ``RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS``, as if the root had
been entered, and only a handle of what was found is used. The program is the node's perl, which
Proxmox cannot do without; none of the guest's is run. Source: openat2(2), user_namespaces(7).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from targets.errors import FactError

if TYPE_CHECKING:
    from targets.runtime.base import Runtime
    from targets.transport import CommandResult, Transport

#: The most that is taken of one answer (bytes), and how long it may take (seconds).
MOST, PATIENCE = 1 << 19, 30
#: The program's exit codes: what was asked for is absent, and nobody can say.
ABSENT, UNTOLD = 4, 3
#: ``refuse`` says why, ``below`` returns the descriptor of a path, ``own`` tells whether a process
#: is in the container's own pid and user namespaces, which neither one of the node's nor one of a
#: Docker container is. ``$process`` is a handle, so that no process that gets
#: the number later is mistaken for it.
PRELUDE = rf"""
use strict;
my ($openat2, $path_only, $nofollow, $cwd) = (437, 0x280000, 0x20000, -100);
my ($in_root, $no_magic) = (0x10, 0x02);
sub refuse {{ print STDERR "$_[0]\n"; exit($_[1] // {UNTOLD}) }}
$SIG{{ALRM}} = sub {{ refuse("no answer within {PATIENCE} s") }};
alarm {PATIENCE};
sub opened {{
    my ($at, $path, $flags, $resolve) = @_;
    my $how = pack "QQQ", $flags, 0, $resolve;
    my $name = "$path\0";
    return syscall($openat2, $at, $name, $how, length $how);
}}
my $pid = shift @ARGV;
my $process = opened($cwd, "/proc/$pid", $path_only, 0);
refuse("process $pid has ended") if $process < 0;
# Which namespace: its inode, by a link of the kernel's own.
sub namespace {{
    my ($at, $path) = @_;
    my $found = opened($at, $path, $path_only, 0);
    return if $found < 0;
    my $inode = (stat "/proc/self/fd/$found")[1];
    require POSIX; POSIX::close($found);
    return $inode;
}}
for my $kind (qw(mnt pid)) {{
    my ($its, $ours) = (namespace($process, "ns/$kind"), namespace($cwd, "/proc/self/ns/$kind"));
    refuse("process $pid has ended") unless $its and $ours;
    refuse("process $pid shares the node's $kind namespace: it is no container's") if $its == $ours;
}}
my $root = opened($process, "root", $path_only, 0);
refuse("the root of process $pid: $!") if $root < 0;
sub below {{
    my ($path, $flags) = @_;
    my $found = opened($root, $path, $path_only | ($flags // 0), $in_root | $no_magic);
    return $found if $found >= 0;
    refuse("$path: $!", $!{{ENOENT}} || $!{{ENOTDIR}} ? {ABSENT} : {UNTOLD});
}}
sub own {{
    my ($other) = @_;
    for my $kind (qw(pid user)) {{
        my $its = namespace($process, "ns/$kind");
        my $theirs = namespace($cwd, "/proc/$other/ns/$kind");
        return 0 unless $its and $theirs and $its == $theirs;
    }}
    return 1;
}}
"""
#: What a path is, by lstat(2): its type and, of a device, its numbers.
_LOOK = (
    PRELUDE
    + r"""
my $found = below($ARGV[0], $nofollow);
my ($mode, $device) = (stat "/proc/self/fd/$found")[2, 6];
my $major = (($device >> 8) & 0xfff) | (($device >> 32) & ~0xfff);
my $minor = ($device & 0xff) | (($device >> 12) & ~0xff);
printf "%o %d %d\n", $mode & 0170000, $major, $minor;
"""
)
_KINDS = {
    "100000": "a file",
    "120000": "a symbolic link",
    "40000": "a directory",
    "20000": "a character device",
    "60000": "a block device",
    "10000": "a pipe",
    "140000": "a socket",
}


@dataclass(frozen=True)
class Node:
    """What is at a path, no link followed: its kind in words, and of a device its numbers."""

    kind: str
    major: int = 0
    minor: int = 0

    def __str__(self) -> str:
        """As a reader would say it."""
        numbers = f" {self.major}:{self.minor}" if self.kind.endswith("device") else ""
        return f"{self.kind}{numbers}"


def run(
    node: Transport, pid: int, program: str, *words: str, what: str = "its root cannot be seen"
) -> CommandResult:
    """Run a perl program that begins with :data:`PRELUDE` on the node.

    Args:
        node: where.
        pid: the container's first process, as the node counts.
        program: the whole of it.
        words: its arguments; ours, never the guest's unchecked.
        what: what cannot be had if it fails, for the reader of the error.

    Returns:
        The result: it ended with 0, or with :data:`ABSENT`.

    Raises:
        FactError: it cannot be told, for example since the node has no perl.
        TransportError: the node cannot be reached.
    """
    argv = ["perl", "-MErrno", "-e", program, str(pid), *words]
    result = node.look(argv, timeout=PATIENCE + 15)
    if result.exit_code in {0, ABSENT} and len(result.stdout) <= 2 * MOST:
        return result
    # Not with the command: a reader of the verdict need not read our program.
    said = result.stderr.decode(errors="replace").strip()[:500]
    raise FactError(
        f"asked on {node.machine} of the container with process {pid}: {what}: "
        f"{said or f'perl ended with {result.exit_code}'}"
    )


def look(runtime: Runtime, ctid: int, path: str) -> Node | None:
    """Return what is at a path below a container's root, its last link not followed.

    Args:
        runtime: manages the container.
        ctid: the container.
        path: absolute, as the container would say it.

    Returns:
        What there is; None if there is nothing.

    Raises:
        FactError: it cannot be told.
        TransportError: the container does not run, or the node cannot be reached.
    """
    what = f"{path} cannot be seen"
    result = run(runtime.node, runtime.init_pid(ctid), _LOOK, path, what=what)
    if result.exit_code == ABSENT:
        return None
    found = re.fullmatch(r"([0-7]{5,6}) ([0-9]{1,9}) ([0-9]{1,9})\n", result.text)
    if found is None:
        raise FactError(f"{runtime.node.machine} said {result.text[:80]!r} of {path}")
    return Node(_KINDS.get(found[1], "of no known kind"), int(found[2]), int(found[3]))
