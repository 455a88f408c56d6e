# Connects to TCP ports. It loads no module, because the image has none: 2 is AF_INET, 111
# ECONNREFUSED. A refusal is an answer, too, but another one.
# "client SERVER PORT ADDRESS…" reaches the server, which says a word and sends back what it gets, and then the
# addresses. A network that loses large packets lets the word through.
# "bridge ADDRESS…" reaches the addresses alone. In place of an address a name may stand, which is only looked up.
# "outside" prints how some addresses outside answer this machine: its gateway and its name servers. Whoever
# refuses is named only if nobody does more, because a firewall refuses, too. The name is one that no file has.

my $large = 30000;
sub exchanged {
    my ($peer, $word) = @_;
    my $back = "";
    eval {
        local $SIG{PIPE} = "IGNORE";
        my $sent = 0;
        $sent += syswrite $peer, "-" x ($large - $sent) or die "$!\n" while $sent < $large;
        shutdown $peer, 1;
        1 while sysread $peer, $back, 65536, length $back;
    };
    return $word if length $back == $large;
    die "it says $word, and then " . length($back) . " of $large bytes come back\n";
}
sub reach {
    my ($host, $port, $listen) = @_;
    my $heard = eval {
        local $SIG{ALRM} = sub { die "no answer\n" };
        alarm 10;
        my $address = gethostbyname $host or die "unknown name\n";
        return "resolved" if !$port;
        socket my $peer, 2, 1, 0 or die "socket: $!\n";
        my $done = connect $peer, pack "S n a4 x8", 2, $port, $address;
        die "$!\n" if !$done and $listen || $! != 111;
        my $line = $listen ? "" : $done ? "answered" : "refused";
        1 while $listen and $line !~ /\n/ and sysread $peer, $line, 1, length $line;
        die "no word\n" if $listen and $line !~ /\n/;
        $line = exchanged($peer, $line =~ s/\n//r) if $listen;
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
sub outward {
    my ($word, @asked) = @_;
    print "$word $_ ", /[a-z]/ ? reach($_, 0) : reach($_, 53), "\n" for @asked;
}
sub client {
    my ($server, $port, @outside) = @_;
    print "server ", reach_soon($server, $port, 1), "\n";
    outward("outside", @outside);
}
sub outside {
    my (@found, %seen, %heard);
    if (open my $file, "<", "/proc/net/route") {
        while (<$file>) {
            my (undef, $to, $by) = split;
            push @found, join ".", unpack "C4", pack "L", hex $by if $to eq "00000000" and $by =~ /[^0]/;
        }
    }
    for my $name ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf") {
        open my $file, "<", $name or next;
        while (<$file>) { push @found, $1 if /^nameserver\s+([0-9]+(?:\.[0-9]+){3})\s*$/ and $1 !~ /^127/ }
    }
    my @asked = splice @{[grep { !$seen{$_}++ } @found]}, 0, 4;
    $heard{$_} = reach($_, 53) for @asked;
    for my $word ("answered", "refused") {
        my @those = grep { $heard{$_} eq $word } @asked or next;
        print "guest $_ $word\n" for @those;
        last;
    }
    print "guest docker.io. resolved\n" if reach("docker.io.", 0) eq "resolved";
}
my $task = shift @ARGV;
if ($task eq "client") { client(@ARGV) }
elsif ($task eq "bridge") { outward("bridge", @ARGV) }
else { outside() }
