# Runs find with these arguments, which prints a path and what it is, each with a NUL behind it. Prints
# a line for each file: in a name, which is anybody's, no line ends. Then prints the part "flags": the files
# that nobody may change ("i") or that may only grow ("a"). find does not know, and lsattr would open
# each file; statx(2) does not. It has a number on each architecture.

use strict;
use Config;
use Errno qw(ENOSYS);
my %numbers = (x86_64 => 332, aarch64 => 291, riscv64 => 291, i => 383, arm => 397);
my ($machine) = $Config{archname} =~ /^(x86_64|aarch64|riscv64|arm|i(?=[3-6]86))/;
my $statx = $numbers{$machine // ""};
my ($here, $no_follow, $immutable, $append) = (-100, 0x100, 0x10, 0x20);
my @flags;
open my $find, "-|", "find", @ARGV or exit 9;
$/ = "\0";
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
