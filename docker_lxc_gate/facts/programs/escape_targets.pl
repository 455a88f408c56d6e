# Prints what the container with the first process $ARGV[0] could reach if it got out: a process of the node
# and one of another container (pid and start), the node's disks, a key of its root, and another profile.

use strict;
my ($init) = @ARGV;
sub text { open my $file, "<", $_[0] or return ""; local $/; return <$file> // "" }
sub home { (text("/proc/$_[0]/cgroup") =~ m{/lxc(?:\.payload\.|/)([^/\s]+)})[0] // "" }
sub started {
    my @fields = split " ", (text("/proc/$_[0]/stat") =~ /.*\) (.*)/s)[0] // "";
    return @fields > 19 ? "$_[0]:$fields[19]" : "";
}
sub fact { print "$_[0]=$_[1]\n" if $_[1] }

my ($monitor) = text("/proc/$init/status") =~ /^PPid:\s([0-9]+)$/m or die "process $init has ended\n";
fact(node => started($monitor));
opendir my $all, "/proc" or die "/proc: $!\n";
my @first = grep { /^[0-9]/ and text("/proc/$_/status") =~ /^NSpid:\s[0-9]+\s1$/m and home($_) } readdir $all;
my ($other) = grep { home($_) ne home($init) } sort { $a <=> $b } @first;
fact(neighbour => started($other)) if $other;
# The root's device, and what it lies on: a container that has the whole disk has the root, too. btrfs and
# ZFS have no device of their own.
sub devices {
    my ($major, $minor) = split /:/, $_[0];
    my $sys = "/sys/dev/block/$_[0]";
    my @below = (glob("$sys/slaves/*/dev"), -e "$sys/partition" ? "$sys/../dev" : ());
    return $major << 8 | $minor & 0xff | ($minor & ~0xff) << 12,
        map { text($_) =~ /^([0-9]+:[0-9]+)$/ ? devices($1) : () } @below;
}
my ($root, $source) = ((stat "/")[0], reverse text("/proc/mounts") =~ m{^(\S+) / }mg);
my $major = sub { $_[0] >> 8 & 0xfff };
$root = (stat _)[6] if !$major->($root) and -b $source;
my $number = $major->($root) . ":" . ($root & 0xff | $root >> 12 & 0xfff00);
$number = "$1:$2" if !$major->($root)
    and text("/proc/partitions") =~ /^ +([0-9]+) +([0-9]+) +[0-9]+ (?!dm|loop|ram|zram|sr|zd)/m;
fact(disk => join ".", devices($number)) if $number !~ /^0:/;
fact(key => hex) for text("/proc/keys") =~ /^([0-9a-f]{8}) \S+ +[0-9]+ +\S+ [0-9a-f]{4}0000 +0 /m;
my ($own) = text("/proc/$init/attr/current") =~ /^([\w.-]+)/;
my @profiles = text("/sys/kernel/security/apparmor/profiles") =~ /^(lxc-[\w.-]{1,60}) \(enforce\)$/mg;
fact(profile => (sort grep { $_ ne ($own // "") } @profiles)[0]);
