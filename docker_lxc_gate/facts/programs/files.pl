# Runs find with the arguments after the first.
# "list": find prints a path and what it is, each with a NUL behind it. Prints a line for each file: in a
# name, which is anybody's, no line ends. Then prints the part "flags": the files that nobody may change
# ("i") or that may only grow ("a"). find does not know, and lsattr would open each file; statx(2) does
# not. It has a number on each architecture.
# "hash": find prints paths with a NUL behind each. Prints the SHA-256 and the name of each, as sha256sum
# does. When find has seen a file, its owner may put a link in its place, to a device for instance, whose
# mere opening may do something. So links are not followed (openat2(2)), and what is there is looked at
# before it is opened.

use strict;
use Config;
use Errno qw(ENOSYS);
use POSIX ();
my ($task, @arguments) = @ARGV;
my ($here, $path_only) = (-100, 0x200000);
open my $find, "-|", "find", @arguments or exit 9;
sub list {
    my %numbers = (x86_64 => 332, aarch64 => 291, riscv64 => 291, i => 383, arm => 397);
    my ($machine) = $Config{archname} =~ /^(x86_64|aarch64|riscv64|arm|i(?=[3-6]86))/;
    my $statx = $numbers{$machine // ""};
    my ($no_follow, $immutable, $append) = (0x100, 0x10, 0x20);
    my @flags;
    local $/ = "\0";
    while (defined(my $path = <$find>)) {
        my $facts = <$find> // exit 9;
        chomp($path, $facts);
        my ($name, $answer) = ($path, "\0" x 256);
        s/\n/\\n/g, s/\t/\\t/g for $name, $facts;
        print "$name\t$facts\n";
        next unless $statx and $facts =~ /^[df] /;
        if (syscall($statx, $here, $path, $no_follow, 0, $answer) != 0) {
            undef $statx if $! == ENOSYS;
            next;
        }
        my (undef, undef, $attributes) = unpack "L2 Q", $answer;
        my $flag = ($attributes & $immutable ? "i" : "") . ($attributes & $append ? "a" : "");
        push @flags, "$name\t$flag\n" if $flag;
    }
    close $find or exit 9;
    @flags = "not seen\tstatx(2) is not known here\n" unless $statx;
    print "\n== flags\n", @flags;
}
sub print_hashes {
    my %names = @_ or return;
    open my $sums, "-|", "sha256sum", map { "/proc/self/fd/$_" } keys %names or exit 9;
    while (<$sums>) {
        print "$1  $names{$2}\n" if m#^([0-9a-f]{64})  /proc/self/fd/([0-9]+)$#;
    }
    close $sums or exit 9;
    POSIX::close($_) for keys %names;
}
sub hash {
    my ($openat2, $no_links, $most) = (437, 0x04, 500);
    my (%names, $path);
    while (defined($path = do { local $/ = "\0"; <$find> })) {
        my $how = pack "QQQ", $path_only, 0, $no_links;
        my $file = syscall($openat2, $here, $path, $how, length $how);
        $path =~ s/\0\z//;
        if ($file < 0 or not -f "/proc/self/fd/$file") {
            print STDERR "$path is not the file any more that it was: ", $file < 0 ? "$!\n" : "exchanged\n";
            exit 9;
        }
        $names{$file} = $path =~ s/\n/\\n/gr;
        next if keys %names < $most;
        print_hashes(%names);
        %names = ();
    }
    print_hashes(%names);
    close $find or exit 9;
}
if ($task eq "list") { list() }
else { hash() }
