# after docker_lxc_gate/facts/programs/namespaces.pl
# Prints the processes that are in a container's pid or user namespace, or in one below it.

my ($init) = @ARGV;
my %its;
for my $kind (qw(pid user)) {
    my @line = spaces($init, $kind);
    unless (@line and $line[-1] == $own{$kind}) {
        print STDERR "the $kind namespace of process $init is not known\n";
        exit 4;
    }
    $its{$kind} = $line[-2] if @line > 1;  # a privileged container has the node's own
}
for my $pid (map { m#([0-9]+)$# } glob "/proc/[0-9]*") {
    print "$pid\n" if grep { my $kind = $_; grep { $_ == $its{$kind} } spaces($pid, $kind) } keys %its;
}
