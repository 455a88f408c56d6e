# Prints the type of the first of these paths that exists, by lstat(2), and a device's numbers.

my $found = -1;
for my $path (@ARGV) {
    $found = opened($root, $path, $path_only | $nofollow, $in_root | $no_magic);
    last if $found >= 0;
    refuse("$path: $!") unless $!{ENOENT} || $!{ENOTDIR};
}
refuse("$ARGV[-1]: it is not there", $absent) if $found < 0;
my ($mode, $device) = (stat "/proc/self/fd/$found")[2, 6];
my $major = (($device >> 8) & 0xfff) | (($device >> 32) & ~0xfff);
my $minor = ($device & 0xff) | (($device >> 12) & ~0xff);
printf "%o %d %d\n", $mode & 0170000, $major, $minor;
