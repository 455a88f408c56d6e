# after docker_lxc_gate/facts/programs/namespaces.pl
# Prints the maps of user and group ids of a container. Its first process may have entered a user
# namespace below the container's, whose map it wrote itself; from there is no way back.

my ($init) = @ARGV;
my @maps;
for my $name (qw(uid_map gid_map)) {
    open my $map, "<", "/proc/$init/$name" or next;
    push @maps, join "", <$map>;
}
my @line = spaces($init, "user");
unless (@line and @line <= 2) {
    print STDERR "process $init has ended, or entered a user namespace of its own\n";
    exit 3;
}
print join "==\n", @maps;
