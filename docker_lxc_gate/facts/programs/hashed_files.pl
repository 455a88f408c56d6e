# Runs find with these arguments, which prints paths with a NUL behind each. Prints the SHA-256 and the
# name of each, as sha256sum does. When find has seen a file, its owner may put a link in its place, to
# a device for instance, whose mere opening may do something. So links are not followed (openat2(2)),
# and what is there is looked at before it is opened.

use strict;
use POSIX ();
my ($openat2, $here, $path_only, $no_links, $most) = (437, -100, 0x200000, 0x04, 500);
sub hashed {
    my %names = @_ or return;
    open my $sums, "-|", "sha256sum", map { "/proc/self/fd/$_" } keys %names or exit 9;
    while (<$sums>) {
        print "$1  $names{$2}\n" if m#^([0-9a-f]{64})  /proc/self/fd/([0-9]+)$#;
    }
    close $sums or exit 9;
    POSIX::close($_) for keys %names;
}
open my $find, "-|", "find", @ARGV or exit 9;
my (%names, $path);
{
    local $/ = "\0";
    while (defined($path = <$find>)) {
        my $how = pack "QQQ", $path_only, 0, $no_links;
        my $file = syscall($openat2, $here, $path, $how, length $how);
        chomp $path;
        if ($file < 0 or not -f "/proc/self/fd/$file") {
            print STDERR "$path is not the file any more that it was: ", $file < 0 ? "$!\n" : "exchanged\n";
            exit 9;
        }
        $names{$file} = $path =~ s/\n/\\n/gr;
        next if keys %names < $most;
        local $/ = "\n";
        hashed(%names);
        %names = ();
    }
}
hashed(%names);
close $find or exit 9;
