# after docker_lxc_gate/machines/programs/guest_root.pl
# Prints the type of a path by lstat(2), and a device's numbers.

my $found = below($ARGV[0], $nofollow);
my ($mode, $device) = (stat "/proc/self/fd/$found")[2, 6];
my $major = (($device >> 8) & 0xfff) | (($device >> 32) & ~0xfff);
my $minor = ($device & 0xff) | (($device >> 12) & ~0xff);
printf "%o %d %d\n", $mode & 0170000, $major, $minor;
