# after docker_lxc_gate/machines/programs/guest_root.pl
# Ends with 0 if one of these paths exists, else as if the last one alone had been asked for.

for my $path (@ARGV[0 .. $#ARGV - 1]) {
    exit 0 if opened($root, $path, $path_only, $in_root | $no_magic) >= 0;
    refuse("$path: $!") unless $!{ENOENT} || $!{ENOTDIR};
}
below($ARGV[-1]);
