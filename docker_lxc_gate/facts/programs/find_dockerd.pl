# after docker_lxc_gate/machines/programs/guest_root.pl
# Prints the container's own processes named dockerd: pid, parent, whether docker.service started
# it, and the command line as JSON, in which a report's mask knows secrets. A rootless dockerd, or one in a Docker container, has namespaces of its
# own and is left out.

sub quoted {
    my ($word) = @_;
    $word =~ s/([\\"\x00-\x1f\x7f-\xff])/sprintf "\\u%04x", ord $1/ge;
    return "\"$word\"";
}
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
