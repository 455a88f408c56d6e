# The beginning of each program that guest_root.py runs. `refuse` prints the cause and
# exits. `below` returns the descriptor of a path. `own` tells whether a process is in the
# container's own pid and user namespaces; processes of the node or of a Docker container are not.
# `$process` is a handle: a later process with the same pid cannot be mistaken for it. Limits and
# exit codes are those of guest_root.py.

use strict;
my ($most, $patience, $absent, $untold) = (1 << 19, 30, 4, 3);
my ($openat2, $path_only, $nofollow, $cwd) = (437, 0x280000, 0x20000, -100);
my ($in_root, $no_magic) = (0x10, 0x02);
sub refuse { print STDERR "$_[0]\n"; exit($_[1] // $untold) }
$SIG{ALRM} = sub { refuse("no answer within $patience s") };
alarm $patience;
sub opened {
    my ($at, $path, $flags, $resolve) = @_;
    my $how = pack "QQQ", $flags, 0, $resolve;
    my $name = "$path\0";
    return syscall($openat2, $at, $name, $how, length $how);
}
my $pid = shift @ARGV;
my $process = opened($cwd, "/proc/$pid", $path_only, 0);
refuse("process $pid has ended") if $process < 0;
# Which namespace: its inode, by a link of the kernel's own.
sub namespace {
    my ($at, $path) = @_;
    my $found = opened($at, $path, $path_only, 0);
    return if $found < 0;
    my $inode = (stat "/proc/self/fd/$found")[1];
    require POSIX; POSIX::close($found);
    return $inode;
}
for my $kind (qw(mnt pid)) {
    my ($its, $ours) = (namespace($process, "ns/$kind"), namespace($cwd, "/proc/self/ns/$kind"));
    refuse("process $pid has ended") unless $its and $ours;
    refuse("process $pid shares the node's $kind namespace: it is no container's") if $its == $ours;
}
my $root = opened($process, "root", $path_only, 0);
refuse("the root of process $pid: $!") if $root < 0;
sub below {
    my ($path, $flags) = @_;
    my $found = opened($root, $path, $path_only | ($flags // 0), $in_root | $no_magic);
    return $found if $found >= 0;
    refuse("$path: $!", $!{ENOENT} || $!{ENOTDIR} ? $absent : $untold);
}
sub own {
    my ($other) = @_;
    for my $kind (qw(pid user)) {
        my $its = namespace($process, "ns/$kind");
        my $theirs = namespace($cwd, "/proc/$other/ns/$kind");
        return 0 unless $its and $theirs and $its == $theirs;
    }
    return 1;
}
