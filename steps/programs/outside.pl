# after steps/programs/reach.pl
# Prints how some addresses outside answer this machine: its gateway and its name servers. Whoever
# refuses is named only if nobody does more, because a firewall refuses, too.

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
