
my ($word, $stays) = @ARGV;
my $name = "/gate/\xff\xfe $word";
sub must { $_[0] or die "$!\n" }
sub change {
    unlink or die "$_: $!\n" for "/gate/linked/one", "/gate/attribute", "/gate/data/first";
    must(rmdir "/gate/data" and mkdir "/gate/data" and mkdir $name);
    for ("$name/new", "/gate/last", "/gate/owned/user", "/kept/$word") {
        must(open my $file, ">", $_);
        must(print $file $word x 1000 and close $file);
    }
    must(chown 1234, 65535, "$name/new" and chmod 0641, "/gate/owned/last");
    must(link "$name/new", "/gate/again" and symlink "\xfe", "/gate/symbolic");
    must(rename "/gate/owned/setuid", "/gate/renamed");
}
change() unless -e $name;  # it is started again
$SIG{TERM} = sub { exit 0 };
$| = 1;
print "done\n";
sleep 1 while $stays;
