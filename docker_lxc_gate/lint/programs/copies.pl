# Starts a program with copies of the texts on standard input as its last arguments. The first
# argument lists their lengths. A copy has no name but /dev/fd/100 and so on: the program opens no
# file of somebody else's, and nothing is left behind, however it ends.

use strict;
use warnings;
use POSIX qw(dup2);

my ($lengths, @program) = @ARGV;
my @copies;
binmode STDIN;
# In memory: a file in /tmp would change that directory on a node that is only looked at.
my $place = $ENV{TMPDIR};
$ENV{TMPDIR} = '/dev/shm' if -w '/dev/shm';
for my $length (split / /, $lengths) {
    my $text = '';
    while (length $text < $length) {
        read(STDIN, $text, $length - length $text, length $text) or die "a text is cut\n";
    }
    open my $copy, '+>:raw', undef or die "no file for a copy: $!\n";
    print {$copy} $text;
    seek $copy, 0, 0 or die "a copy cannot be written: $!\n";
    my $number = 100 + @copies;
    dup2(fileno $copy, $number) or die "no descriptor for a copy: $!\n";
    push @copies, "/dev/fd/$number";
}
if (defined $place) { $ENV{TMPDIR} = $place } else { delete $ENV{TMPDIR} }
exec { $program[0] } @program, @copies;
exit 127;
