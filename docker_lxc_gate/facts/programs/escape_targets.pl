# Prints what the container with the first process $ARGV[0] could reach if it got out: a process of the node
# and one of another container (pid and start), the node's disk, a key of its root, and another profile.

use strict;
my ($init) = @ARGV;
sub text { open my $file, "<", $_[0] or return ""; local $/; return <$file> // "" }
sub home { (text("/proc/$_[0]/cgroup") =~ m{/lxc(?:\.payload\.|/)([^/\s]+)})[0] // "" }
sub started {
    my @fields = split " ", (text("/proc/$_[0]/stat") =~ /.*\) (.*)/s)[0] // "";
    return @fields > 19 ? "$_[0]:$fields[19]" : "";
}
sub fact { print "$_[0]=$_[1]\n" if $_[1] }

my ($monitor) = text("/proc/$init/status") =~ /^PPid:\s(\d+)$/m or die "process $init has ended\n";
fact(node => started($monitor));
opendir my $all, "/proc" or die "/proc: $!\n";
my @first = grep { /^\d/ and text("/proc/$_/status") =~ /^NSpid:\s\d+\s1$/m and home($_) } readdir $all;
my ($other) = grep { home($_) ne home($init) } sort { $a <=> $b } @first;
fact(neighbour => started($other)) if $other;
my ($root, $partitions) = ((stat "/")[0], text("/proc/partitions"));
$root = (stat "/dev/block/$1:$2")[6]  # of btrfs or ZFS, which have no device of their own
    if $root < 256 and $partitions =~ /^ +(\d+) +(\d+) +\d+ (?!loop|ram|zram|sr)/m;
fact(disk => $root);
fact(key => hex) for text("/proc/keys") =~ /^([0-9a-f]{8}) \S+ +\d+ +\S+ [0-9a-f]{4}0000 +0 /m;
my ($own) = text("/proc/$init/attr/current") =~ /^([\w.-]+)/;
my @profiles = text("/sys/kernel/security/apparmor/profiles") =~ /^(lxc-[\w.-]{1,60}) \(enforce\)$/mg;
fact(profile => (sort grep { $_ ne ($own // "") } @profiles)[0]);
