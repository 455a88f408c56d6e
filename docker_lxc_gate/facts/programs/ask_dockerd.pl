# after docker_lxc_gate/machines/programs/guest_root.pl
# Checks which process listens, then sends one query. Prints "PID NAME", then the raw answer.

my ($path, $question) = @ARGV;
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
