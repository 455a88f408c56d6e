# Connects to a TCP port. It loads no module, because the image has none: 2 is AF_INET, 111
# ECONNREFUSED. A refusal is an answer, too, but another one.

sub reach {
    my ($host, $port, $listen) = @_;
    my $heard = eval {
        local $SIG{ALRM} = sub { die "no answer\n" };
        alarm 10;
        my $address = gethostbyname $host or die "unknown name\n";
        socket my $peer, 2, 1, 0 or die "socket: $!\n";
        my $done = connect $peer, pack "S n a4 x8", 2, $port, $address;
        die "$!\n" if !$done and $listen || $! != 111;
        my $line = $listen ? readline $peer : $done ? "answered" : "refused";
        alarm 0;
        $line;
    };
    alarm 0;
    chomp($heard //= "- $@");
    return $heard;
}
sub reach_soon {
    my $until = time + 50;
    my $heard = reach(@_);
    while ($heard =~ /^-/ and time < $until) {
        sleep 1;
        $heard = reach(@_);
    }
    return $heard;
}
