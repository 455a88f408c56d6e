# after docker_lxc_gate/machines/programs/guest_root.pl
# Prints the container's own processes named dockerd: pid, parent, whether docker.service started
# it, and the command line. A rootless dockerd, or one in a Docker container, has namespaces of its
# own and is left out.

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
    sysread $line, my $words, 1 << 14;
    print join(" ", $each, $parent, $unit, unpack "H*", $words // ""), "\n";
    last if ++$found > 8;
}
