# Prints what a container whose first process is $ARGV[0] could reach if it got out: a process of the node
# and one of another container (pid and start), the node's disk, a key of its root, and another profile.

use strict;
my ($init) = @ARGV;
sub text { open my $file, "<", $_[0] or return ""; local $/; return <$file> // "" }
sub started {
    my @fields = split " ", (text("/proc/$_[0]/stat") =~ /.*\) (.*)/s)[0] // "";
    return @fields > 19 ? "$_[0]:$fields[19]" : "";
}
sub home { (text("/proc/$_[0]/cgroup") =~ m{/lxc(?:\.payload\.|/)([^/\s]+)})[0] // "" }

my ($monitor) = text("/proc/$init/status") =~ /^PPid:\s(\d+)$/m or die "process $init has ended\n";
print "node=", started($monitor), "\n";

opendir my $all, "/proc" or die "/proc: $!\n";
for my $pid (sort { $a <=> $b } grep { /^\d+\z/ } readdir $all) {
    next unless text("/proc/$pid/status") =~ /^NSpid:\s\d+\s1$/m and home($pid);
    print("neighbour=", started($pid), "\n"), last if home($pid) ne home($init);
}

my $root = (stat "/")[0];
my ($major, $minor) = (($root >> 8) & 0xfff, ($root & 0xff) | (($root >> 12) & 0xfff00));
($major, $minor) = ($1, $2)
    if not $major and text("/proc/partitions") =~ /^ +(\d+) +(\d+) +\d+ (?!loop|ram|zram|sr)/m;
print "disk=$major:$minor\n" if $major;

my ($key) = text("/proc/keys") =~ /^([0-9a-f]{8}) \S+ +\d+ +\S+ [0-9a-f]{4}0000 +0 /m;
print "key=", hex $key, "\n" if $key;

my ($own) = text("/proc/$init/attr/current") =~ /^([\w.-]+)/;
my @profiles = text("/sys/kernel/security/apparmor/profiles") =~ /^(lxc-[\w.-]{1,60}) \(enforce\)$/mg;
my ($other) = sort grep { $_ ne ($own // "") } @profiles;
print "profile=$other\n" if $other;
