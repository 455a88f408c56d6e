# Notes the container of each process until its input ends; then writes the notes to a file. It
# reads the cgroup of each process at the beginning, at the end, and when a process runs another
# program; a child inherits its parent's container. What root's lxc-start starts for a container, such as a
# hook, is that container's before it enters its cgroup. "?" is a process that was seen in no container:
# one of the node, or one that the node began in a container. The parent of such a process, and by
# CLONE_PARENT of its children, is a process of the node. A pid that the kernel used again has the
# containers of all its processes. Without the kernel's process events,
# the program notes the beginning and the end only. The last line says whether every process was
# noted.

use strict;
my ($netlink, $datagram, $connector, $process_events) = (16, 2, 11, 1);
my $most = 200_000;  # noted processes, because a container can start any number
my $patience = 10;  # seconds for the events that wait when the input ends
my (%now, %ever);  # the container of a pid's present process; of all that had the pid
sub content { open my $file, "<", $_[0] or return ""; local $/; my $all = <$file>; $all // "" }
sub note { my ($pid, $home) = @_; $now{$pid} = $home; $ever{$pid}{$home} = 1 if $home ne "?" }
sub look {
    my ($pid) = @_;
    my ($home) = content("/proc/$pid/cgroup") =~ m{^[0-9]+:[^:\n]*:/lxc(?:\.payload\.|/)([^/\s]+)}m;
    $home //= starts($pid) if ($now{$pid} // "?") eq "?";
    return $now{$pid} //= "?" unless defined $home;
    note($pid, $home);
}
sub starts {
    my ($pid) = @_;
    return undef if (readlink("/proc/$pid/exe") // "") ne "/usr/bin/lxc-start" or (stat "/proc/$pid")[4];
    my @words = split /\0/, content("/proc/$pid/cmdline");
    return $1 if "@words" =~ /^\[lxc monitor\] \S+ (\S+)/;
    for my $at (0 .. $#words) {
        return $words[$at + 1] if $words[$at] =~ /^(?:-n|--name)\z/;
        return $1 if $words[$at] =~ /^(?:-n|--name=)([^\s-]\S*)\z/;
    }
    return undef;
}
sub look_around { opendir my $all, "/proc" or return; look($_) for grep /^[0-9]+$/, readdir $all }
my $events;
my $listens = socket($events, $netlink, $datagram, $connector)
    && bind($events, pack "SSLL", $netlink, 0, $$, $process_events);
if ($listens) {
    my $listen = pack "LLLLSSL", $process_events, 1, 0, 0, 4, 0, 1;
    my $header = pack "LSSLL", 16 + length $listen, 3, 0, 0, $$;
    setsockopt($events, 1, 33, pack "l", 8 << 20);  # SOL_SOCKET, SO_RCVBUFFORCE
    $listens = send($events, $header . $listen, 0);
}
look_around();
$| = 1;
print "noting\n";
my $lost = $listens ? "" : "the kernel does not report its processes";
my ($faster, $until) = "processes started faster than they could be noted";
while (1) {
    my $ready = "";
    vec($ready, fileno STDIN, 1) = 1 unless $until;
    vec($ready, fileno $events, 1) = 1 if $listens;
    select $ready, undef, undef, $until && 0;
    # A container can start processes without end, so the input is read although events wait.
    if (!$until and vec $ready, fileno STDIN, 1) {
        sysread STDIN, my $said, 512 or $until = time + $patience;
        next;
    }
    unless ($listens and vec $ready, fileno $events, 1) {
        last if $until;
        next;
    }
    $lost ||= $faster, last if $until and time > $until;
    my $told = recv $events, my $event, 512, 0;
    unless (defined $told) {
        $lost ||= $faster;
        look_around();
        next;
    }
    my ($what, undef, $by, $thread, $new) = unpack "x36 L x12 L4", $event;
    if ($what == 1 and $new == $thread) {
        $lost ||= "more than $most processes started", next if keys %now >= $most;
        $ever{$new}{"?"} = 1 if ($now{$new} // "") eq "?";
        note($new, $now{$by} // "?");
    } elsif ($what == 2) {
        look($by);
    }
}
look_around();
open my $file, ">", $ARGV[0] or die "$ARGV[0]: $!\n";
for my $pid (keys %ever) {
    my @homes = keys %{{%{$ever{$pid}}, $now{$pid} => 1}};
    print $file "process $pid $_\n" for grep { @homes > 1 or $_ ne "?" } @homes;
}
print $file $lost ? "lost $lost\n" : "whole\n";
close $file or die "$ARGV[0]: $!\n";
