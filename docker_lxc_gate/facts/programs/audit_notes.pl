# after docker_lxc_gate/facts/programs/audit_status.pl
# Writes each denial to a file until its input ends, and then deletes the file, unless it is killed.
# It also writes each change of the audit configuration and of AppArmor's policy. Five times a
# second it looks for another process that receives the records, a count of lost records that goes
# down, a log that shrinks, and changed settings of AppArmor. It writes no other records, because
# those hold command lines, and so secrets.

my ($notes, $log) = @ARGV;
my $remark = "docker-lxc-gate: ";  # begins each line that is not a record
my $gap = "${remark}records were lost here";
my $room = 8 << 20;  # for the notes in /run, which is memory (bytes): some thirty thousand denials
my ($read_log, $config_change, $feature_change) = (1, 1305, 1328);
bind($kernel, pack "SSLL", $netlink, 0, 0, $read_log) or die "the kernel's audit: $!\n";
setsockopt($kernel, 1, 33, pack "l", 8 << 20);  # SOL_SOCKET, SO_RCVBUFFORCE: room for a burst
socket(my $asked, $netlink, $raw, $audit) or die "the kernel's audit: $!\n";
setsockopt($asked, 1, 20, pack "l!l!", 2, 0);  # SO_RCVTIMEO: do not block the reading of records
umask 077;
$SIG{$_} = sub { exit 1 } for qw(TERM HUP INT PIPE ALRM);
open my $file, ">", $notes or die "$notes: $!\n";
END { unlink $notes if $file }
alarm 4 * 3600;  # sshd may take hours to notice a lost connection
$_->autoflush for $file, *STDOUT;
sub note {
    my ($line) = @_;
    return if $room < 0;
    $line =~ tr/\n/ /;
    $room -= length $line;
    print $file $room < 0 ? $gap : $line, "\n" or die "$notes: $!\n";
}
my ($reader, $lost, $inode, $size, %parameter);
sub look {
    for my $name (qw(audit mode)) {
        open my $in, "<", "/sys/module/apparmor/parameters/$name" or next;
        my ($now) = (<$in> // "") =~ /(\w+)/ or next;
        my $was = $parameter{$name} // $now;
        note("${remark}parameter $name $was $now") if $was ne $now;
        $parameter{$name} = $now;
    }
    my ($now, $count) = eval { status($asked) } or return;
    note("${remark}reader $reader $now") if defined $reader and $now != $reader;
    note("${remark}reset $lost $count") if defined $lost and $count < $lost;
    ($reader, $lost) = ($now, $count);
    my ($here, $long) = (stat $log)[1, 7];
    note("${remark}shrank $size $long")
        if defined $here and defined $inode and $here == $inode and $long < $size;
    ($inode, $size) = ($here, $long);
}
look();
print "noting\n";
my $last = time;
while (1) {
    my $ready = "";
    vec($ready, fileno $_, 1) = 1 for $kernel, *STDIN;
    my $many = select $ready, undef, undef, 0.2;
    look(), $last = time if not $many or time != $last;
    next unless $many;
    last if vec($ready, fileno STDIN, 1) and not sysread STDIN, my $said, 512;
    next unless vec $ready, fileno $kernel, 1;
    note($gap), next unless defined recv $kernel, my $record, 65536, 0;
    my ($type, $line) = unpack "x4 S x10 Z*", $record;
    note($line) if $line =~ /apparmor="(?:DENIED|KILLED)"/;
    note("${remark}policy $line") if $line =~ /apparmor="STATUS" operation="profile_/;
    note("${remark}changed $line") if $type == $config_change or $type == $feature_change;
}
