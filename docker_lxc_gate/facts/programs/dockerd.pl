# "find": prints the container's own processes named dockerd: pid, parent, whether docker.service started
# it, and the command line as JSON, in which a report's mask knows secrets. A rootless dockerd, or one in
# a Docker container, has namespaces of its own and is left out.
# "ask SOCKET PATH": checks which process listens, then sends one query. Prints "PID NAME", then the
# raw answer.

sub quoted {
    my ($word) = @_;
    $word =~ s/([\\"\x00-\x1f\x7f-\xff])/sprintf "\\u%04x", ord $1/ge;
    return "\"$word\"";
}
sub find_processes {
    opendir my $all, "/proc" or refuse("/proc: $!");
    my $found = 0;
    for my $each (grep /^[0-9]+$/, readdir $all) {
        open my $comm, "<", "/proc/$each/comm" or next;
        next unless (<$comm> // "") eq "dockerd\n" and own($each);
        open my $stat, "<", "/proc/$each/stat" or next;
        my ($parent) = (<$stat> // "") =~ /.*\) \S ([0-9]+) /s or next;
        open my $group, "<", "/proc/$each/cgroup" or next;
        my $unit = grep(m{/docker\.service$}, <$group>) ? 1 : 0;
        open my $line, "<", "/proc/$each/cmdline" or next;
        sysread $line, my $text, 1 << 14;
        my @words = map quoted($_), split /\0/, $text // "";
        print "$each $parent $unit [", join(", ", @words), "]\n";
        last if ++$found > 8;
    }
}
sub ask {
    my ($path, $question) = @_;
    my $found = below($path);
    my $mode = (stat "/proc/self/fd/$found")[2];
    refuse("$path in the container is no socket") unless ($mode & 0170000) == 0140000;
    socket(my $docker, 1, 1, 0) or refuse("a socket: $!");
    connect($docker, pack "Sa*", 1, "/proc/self/fd/$found\0") or refuse("$path: $!");
    my ($listener) = unpack "L", getsockopt($docker, 1, 17) || "\0" x 4;  # SOL_SOCKET, SO_PEERCRED
    refuse("process $listener, which listens on $path, is not the container's own")
        unless own($listener);
    open my $comm, "<", "/proc/$listener/comm" or refuse("who listens on $path has ended");
    print "$listener ", unpack("H*", <$comm> // ""), "\n";
    $SIG{PIPE} = "IGNORE";
    my $asked = "GET $question HTTP/1.0\r\nHost: docker\r\nConnection: close\r\n\r\n";
    (syswrite($docker, $asked) // 0) == length $asked or refuse("$path: $!");
    my $room = $most;
    while (1) {
        my $count = sysread $docker, my $part, 65536;
        refuse("$path: $!") unless defined $count;
        last unless $count;
        refuse("$path: more than $most bytes came back") if ($room -= $count) < 0;
        print $part;
    }
}
my $task = shift @ARGV;
if ($task eq "find") { find_processes() }
else { ask(@ARGV) }
