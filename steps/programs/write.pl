# Writes its argument into the volume, says so, and waits.

$SIG{TERM} = sub { exit };
open my $file, ">>", "/gate/data/written" or die "open written: $!\n";
print $file "$ARGV[0]\n";
close $file or die "close written: $!\n";
syswrite STDOUT, "done\n";
sleep 1 while 1;
