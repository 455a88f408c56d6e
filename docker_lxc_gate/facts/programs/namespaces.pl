# The beginning of each program that asks whose namespaces a process is in. `spaces` returns the
# inodes of a process's namespace of a kind and of those above it, the node's own last; of a process
# that has ended it returns none. The guest may make namespaces below the container's, and enter
# them. Source: ioctl_ns(2).

use strict;
my ($get_parent, %above) = 0xb702;
my %own = map { $_ => (stat "/proc/self/ns/$_")[1] } qw(pid user);
sub upwards {
    my ($space, $kind) = @_;
    my $inode = (stat $space)[1];
    unless ($above{$inode}) {
        my ($found, $parent);
        $found = ioctl $space, $get_parent, 0 if $inode != $own{$kind};
        my @above = $found && open($parent, "<&=", $found) ? upwards($parent, $kind) : ();
        $above{$inode} = [$inode, @above];
    }
    return @{$above{$inode}};
}
sub spaces {
    my ($pid, $kind) = @_;
    open my $space, "<", "/proc/$pid/ns/$kind" or return;
    return upwards($space, $kind);
}
