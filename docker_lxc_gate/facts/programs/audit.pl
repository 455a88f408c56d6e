# Reads the kernel's audit. With "state" it prints the number of lost records, the process that receives
# the records (auditd), and the rules of the list `exclude` (the fifth) as `auditctl -l` does.
# With "notes FILE" it writes each denial to the file until its input ends, and then deletes the file,
# unless it is killed. It also writes each change of the audit configuration and of AppArmor's policy. Five
# times a second it looks for changed settings of AppArmor, which leave no record.
# It writes no other records, because those hold command lines, and so secrets.
# With "canary NAME" it asks the kernel for a profile that does not exist. The kernel refuses and logs a denial;
# nothing on the node changes (kernel security/apparmor/domain.c, aa_change_profile: "label not found").

use strict;
my ($task, $notes) = @ARGV;
my ($netlink, $raw, $audit) = (16, 3, 9);
socket(my $kernel, $netlink, $raw, $audit) or die "the kernel's audit: $!\n";

sub print_state {
    my ($get, $list, $request, $error, $exclude) = (1000, 1013, 1, 2, 5);
    send($kernel, pack("LSSLL", 16, $get, $request, 1, 0), 0) or die "the kernel's audit: $!\n";
    defined recv $kernel, my $status, 8192, 0 or die "the kernel's audit: $!\n";
    # Of struct audit_status: its fourth number is the process that receives the records, its seventh the number
    # of lost records.
    my ($answer, $reader, $lost) = unpack "x4 S x10 x12 L x8 L", $status;
    die "the kernel's audit sent no status\n" unless $answer == $get;
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
    return unless $reader and open my $stat, "<", "/proc/$reader/stat";
    print "process $2 $1\n" if <$stat> =~ /\((.*)\) (\S)/s;
}

my $remark = "docker-lxc-gate: ";  # begins each line that is not a record
my $gap = "${remark}records were lost here";
my $room = 8 << 20;  # for the notes in /run, which is memory (bytes): some thirty thousand denials
my ($file, %parameter);
END { unlink $notes if $file }
sub note {
    my ($line) = @_;
    return if $room < 0;
    $line =~ tr/\n/ /;
    $room -= length $line;
    print $file $room < 0 ? $gap : $line, "\n" or die "$notes: $!\n";
}
sub look {
    for my $name (qw(audit mode)) {
        open my $in, "<", "/sys/module/apparmor/parameters/$name" or next;
        my ($now) = (<$in> // "") =~ /(\w+)/ or next;
        my $was = $parameter{$name} // $now;
        note("${remark}parameter $name $was $now") if $was ne $now;
        $parameter{$name} = $now;
    }
}
sub take_notes {
    my ($read_log, $config_change, $feature_change) = (1, 1305, 1328);
    bind($kernel, pack "SSLL", $netlink, 0, 0, $read_log) or die "the kernel's audit: $!\n";
    setsockopt($kernel, 1, 33, pack "l", 8 << 20);  # SOL_SOCKET, SO_RCVBUFFORCE: room for a burst
    umask 077;
    $SIG{$_} = sub { exit 1 } for qw(TERM HUP INT PIPE ALRM);
    open $file, ">", $notes or die "$notes: $!\n";
    alarm 4 * 3600;  # sshd may take hours to notice a lost connection
    $_->autoflush for $file, *STDOUT;
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
}
sub provoke {
    my ($name) = @_;
    my $attributes = "/proc/self/attr/apparmor";
    $attributes = "/proc/self/attr" unless -e "$attributes/exec";
    open my $exec, ">", "$attributes/exec" or die "$attributes/exec: $!\n";
    print defined syswrite($exec, "exec $name") ? "allowed" : "refused", ": $!\n";
}
if ($task eq "state") { print_state() }
elsif ($task eq "canary") { provoke($notes) }
else { take_notes() }
