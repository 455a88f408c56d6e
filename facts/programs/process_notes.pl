# Notes each new process, its parent, its container and the container's profiles until its input
# ends; then writes the notes to a file. It reads the cgroup of each process at the beginning, at
# the end, and when a process runs another program; children inherit it. "?" is a process whose
# cgroup nobody could read before it ended. Without the kernel's process events, the program notes
# the beginning and the end only. The last line says whether every process was noted.

use strict;
my ($netlink, $datagram, $connector, $process_events) = (16, 2, 11, 1);
my $most = 200_000;  # noted processes, because a container can start any number
my (%parent, %now, %ever, %label);
sub content { open my $file, "<", $_[0] or return ""; local $/; my $all = <$file>; $all // "" }
sub look {
    my ($pid) = @_;
    my $cgroup = content("/proc/$pid/cgroup");
    $ever{$pid}{"?"} = 1 if $cgroup eq "" and not defined $now{$pid};
    my ($home) = $cgroup =~ m{/lxc(?:\.payload\.|/)([^/\s]+)} or return;
    $now{$pid} = $home;
    $ever{$pid}{$home} = 1;
    my $label = content("/proc/$pid/attr/apparmor/current") || content("/proc/$pid/attr/current");
    $label{$home}{$1} = 1 if $label =~ /^([^\s\0]+)/;
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
while (1) {
    my $ready = "";
    vec($ready, fileno STDIN, 1) = 1;
    vec($ready, fileno $events, 1) = 1 if $listens;
    select $ready, undef, undef, undef;
    if ($listens and vec $ready, fileno $events, 1) {
        my $told = recv $events, my $event, 512, 0;
        unless (defined $told) {
            $lost ||= "processes started faster than they could be noted";
            look_around();
            next;
        }
        my ($what, undef, $by, $thread, $new) = unpack "x36 L x12 L4", $event;
        if ($what == 1 and $new == $thread) {
            $lost ||= "more than $most processes started", next if keys %parent >= $most;
            $parent{$new} = $by;
            delete $now{$new};
            next unless defined $now{$by};
            $now{$new} = $now{$by};
            $ever{$new}{$now{$by}} = 1;
        } elsif ($what == 2) {
            look($by);
        }
    } elsif (vec $ready, fileno STDIN, 1) {
        last unless sysread STDIN, my $said, 512;
    }
}
look_around();
open my $file, ">", $ARGV[0] or die "$ARGV[0]: $!\n";
print $file "parent $_ $parent{$_}\n" for keys %parent;
for my $pid (keys %ever) {
    my @homes = keys %{$ever{$pid}};
    print $file "process $pid $_\n" for grep { @homes > 1 or $_ ne "?" } @homes;
}
for my $home (keys %label) { print $file "profile $home $_\n" for keys %{$label{$home}} }
print $file $lost ? "lost $lost\n" : "whole\n";
close $file or die "$ARGV[0]: $!\n";
