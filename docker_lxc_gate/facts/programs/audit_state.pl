# after docker_lxc_gate/facts/programs/audit_status.pl
# Prints the state, and the rules of the list `exclude` (the fifth) as `auditctl -l` does.

my ($log) = @ARGV;
my ($list, $request, $error, $exclude) = (1013, 1, 2, 5);
my ($reader, $lost) = status($kernel);
print "lost $lost\nreader $reader\n";
my %name = (0 => "pid", 1 => "uid", 5 => "gid", 9 => "auid", 12 => "msgtype", 13 => "subj_user",
    14 => "subj_role", 15 => "subj_type", 16 => "subj_sen", 17 => "subj_clr", 25 => "sessionid",
    26 => "saddr_fam", 112 => "exe", 210 => "key");
my %text = map { $_ => 1 } 13 .. 17, 19 .. 23, 105, 107, 112, 210;
my %sign = (4 => "=", 3 => "!=", 1 => "<", 2 => ">", 5 => "<=", 6 => ">=");
send($kernel, pack("LSSLL", 16, $list, $request, 2, 0), 0) or die "the kernel's audit: $!\n";
while (defined recv $kernel, my $answer, 65536, 0) {
    my $type = unpack "x4 S", $answer;
    die "the kernel's audit sent no rules\n" if $type == $error;
    last unless $type == $list;
    my ($where, $action, $count, @rest) = unpack "x16 L3 x256 L64 L64 L64 L a*", $answer;
    next unless ($where & 15) == $exclude;
    my ($words, @said) = ($rest[193], $action ? "-a always,exclude" : "-a never,exclude");
    for my $each (0 .. $count - 1) {
        my ($field, $value, $how) = @rest[$each, 64 + $each, 128 + $each];
        my $sign = $sign{$how >> 28} || "&";
        $value = substr $words, 0, $value, "" if $text{$field};
        $value = "AVC" if $field == 12 and $value eq "1400";
        push @said, "-F " . ($name{$field} || "field$field") . "$sign$value";
    }
    print "rule @said\n";
}
if ($reader and open my $stat, "<", "/proc/$reader/stat") {
    my ($name, $rest) = <$stat> =~ /\((.*)\) (.*)/s;
    my ($state, $started) = (split " ", $rest)[0, 19];
    print "process $state $started $name\n";
}
my ($inode, $size) = (stat $log)[1, 7];
print "log $inode $size\n" if defined $size;
