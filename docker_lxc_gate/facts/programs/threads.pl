# Prints the name, the label and the seccomp mode of each thread in the cgroups of a container, or in
# its pid or user namespace, or in one below it: who enters by nsenter is in no cgroup of the
# container. All threads are listed again and again, and a new one is read at once: one that forks and
# ends, to hop from process to process, is gone before a list is read through.

use strict;
use Errno qw(ENAMETOOLONG);
# `spaces` returns the inodes of a process's namespace of a kind and of those above it, the node's own
# last; of a process that has ended it returns none. The guest may make namespaces below the
# container's, and enter them. Source: ioctl_ns(2).
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
my ($init) = @ARGV;
my $looks = 10;
sub content {
    open my $file, "<", $_[0] or return;
    my $text = "";
    1 while sysread $file, $text, 1 << 16, length $text;  # a list of threads comes page by page
    return $text;
}
my ($groups, $path) = content("/proc/$init/cgroup") // "";
for (split /\n/, $groups) {
    my ($found) = m{^[0-9]+:(?:name=systemd)?:(/.*)} or next;
    # The first match: below it the guest may create a cgroup with the same name.
    $path = $found if $found =~ s{(/lxc(?:\.payload\.|/)[^/]+).*}{$1};
}
unless (defined $path) {
    print STDERR "no cgroup of LXC's: $groups";
    exit 4;
}
my %its;
for my $kind (qw(pid user)) {
    my @line = spaces($init, $kind);
    unless (@line and $line[-1] == $own{$kind}) {
        print STDERR "the $kind namespace of process $init is not known\n";
        exit 4;
    }
    $its{$kind} = $line[-2] if @line > 1;  # a privileged container has the node's own
}
my $label = -e "/proc/self/attr/apparmor/current" ? "attr/apparmor/current" : "attr/current";
my (%seen, %is_member);
sub look {
    my ($thread) = @_;
    # One that enters the container is under its profile and filter a moment later.
    return if $seen{$thread} and $seen{$thread}[0] =~ /\(enforce\)\n?\z/ and $seen{$thread}[1] == 2;
    my ($under, $status) = (content("/proc/$thread/$label"), content("/proc/$thread/status"));
    my ($mode) = ($status // "") =~ /^Seccomp:\t([0-9]+)$/m;
    if (length($under // "") and defined $mode) {
        $seen{$thread} = [$under, $mode, content("/proc/$thread/comm") // ""];
    }
    else { $seen{$thread} //= undef }
}
sub entries {
    opendir my $folder, $_[0] or return;
    return grep !/^\./, readdir $folder;
}
sub too_deep {
    print STDERR "the container's cgroups are nested too deeply to be read\n";
    exit 4;
}
sub in_cgroups {
    my @todo = grep -d, map "$_$path", "/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd";
    while (defined(my $group = pop @todo)) {
        too_deep() if !lstat "$group/cgroup.threads" and $!{ENAMETOOLONG};
        look($_) for map /^[0-9]+$/mg, map content("$group/$_") // "", "cgroup.threads", "tasks";
        my ($below, $unknown) = (0, 0);
        for (entries($group)) {
            if (lstat "$group/$_") { ++$below, push @todo, "$group/$_" if -d _ }
            else { $unknown ||= $!{ENAMETOOLONG} }
        }
        # A group has two links, and one more for each group in it. Other names are of its settings.
        too_deep() if $unknown and $below < ((lstat $group)[3] // 0) - 2;
    }
}
sub in_namespaces {
    for my $pid (grep /^[0-9]+$/, entries("/proc")) {
        $is_member{$pid} //= grep { my $kind = $_; grep { $_ == $its{$kind} } spaces($pid, $kind) } keys %its;
        next unless $is_member{$pid};
        look($_) for entries("/proc/$pid/task");
    }
}
for (1 .. $looks) {
    in_cgroups();
    in_namespaces();
}
for my $thread (sort { $a <=> $b } keys %seen) {
    if ($seen{$thread}) {
        my ($under, $mode, $name) = @{$seen{$thread}};
        print map "/proc/$thread/comm:$_\n", split /\n/, $name;
        print map "/proc/$thread/$label:$_\n", split /\n/, $under;
        print "/proc/$thread/status:Seccomp:\t$mode\n";
    }
    print "alive $thread\n" if -d "/proc/$thread";
}
