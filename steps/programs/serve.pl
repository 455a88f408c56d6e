# Answers each connection to port 8080 with its argument.

$SIG{TERM} = sub { exit };
socket my $server, 2, 1, 0 or die "socket: $!\n";
bind $server, pack "S n x12", 2, 8080 or die "bind: $!\n";
listen $server, 8 or die "listen: $!\n";
while (accept my $client, $server) {
    syswrite $client, "$ARGV[0]\n";
    close $client;
}
