# A program of the node makes the attempts. It enters the profile of the container's first process
# and its network, user and mount namespaces, as its root. It runs none of the container's programs,
# because they could lie. Each attempt runs in a child, which a profile in kill mode kills; the
# child exits with its errno. The program loads no file after it has entered. What the guest put in
# the place of /proc or /sys could refuse by itself, so it must be the kernel's. /proc is mounted on
# a directory of its own: on the way to any other place the guest's file systems could refuse. Of
# the firmware, what the node has is opened on no other mount than /sys, the root of a sysfs: a stat
# of it proves nothing, because the profile refuses that, too. A name that the guest changes
# meanwhile could be refused by another rule, so the child has its own mounts, and a refusal counts
# if nothing in / has changed. Source: setns(2), mount(2), fstatfs(2), openat2(2), LXC's attach.c.

use POSIX ();
use Config;
my ($machine) = $Config{archname} =~ /^(x86_64|aarch64|riscv64|arm|i(?=[3-6]86))/;
my $statfs = {x86_64 => 137, aarch64 => 43, riscv64 => 43, i => 99, arm => 99}->{$machine // ""};
refuse("statfs(2) is not known here") unless $statfs;
my ($of_proc, $of_sys, $of_fuse) = (0x9fa0, 0x62656572, 0x65735546);
my ($clone_mounts, $unshare, $setns, $mount) = (0x20000, 272, 308, 165);
my ($bind, $apart) = (0x1000 | 0x4000, 0x4000 | 0x40000);
my ($no_links, $one_mount, $nothing) = (0x04, 0x01 | 0x04 | 0x08, 200);  # the last is no errno
opendir(my $all, "/sys/firmware") or $!{ENOENT} or refuse("/sys/firmware of the node: $!");
my @names = map { "firmware/$_" } sort grep { !/^\./ } $all ? readdir $all : ();
my ($firmware) = grep { -d "/sys/$_" and 5 == ((stat _)[2] & 5) } @names;  # that others may read
my $top = (stat "/sys")[1];
my $fine = eval { require Time::HiRes };
my $tick = $fine ? 0.04 : 2;
my $node = opened($cwd, "/proc", $path_only, 0);
sub attribute {
    my ($of, $flags) = @_;
    for my $place ("$of/attr/apparmor/current", "$of/attr/current") {
        my $found = opened($node, $place, $flags, 0);
        return $found if $found >= 0;
    }
    return -1;
}
my @home = map { opened($process, "ns/$_", 0, 0) } qw(net user mnt);
refuse("process $pid has ended") if grep { $_ < 0 } @home;
POSIX::read(attribute($pid, 0), my $label, 4096) or refuse("the label of process $pid: $!");
$label =~ s/(?: \(\w+\))?\n?\z//;
sub enter {
    $SIG{ALRM} = "DEFAULT";  # a handler would wait for a file system of the guest's
    alarm $patience / 2;
    if ($label ne "unconfined") {
        my $said = "changeprofile $label";
        POSIX::write(attribute("self", 1), $said, length $said) or refuse("enter $label: $!");
    }
    for my $space (@home) { syscall($setns, $space, 0) == 0 or refuse("enter a namespace: $!") }
    POSIX::setgid(0) and POSIX::setuid(0) or refuse("become its root: $!");
    syscall($unshare, $clone_mounts) == 0 or refuse("have its own mounts: $!");
    my ($none, $root) = ("none\0", "/\0");
    syscall($mount, $none, $root, 0, $apart, 0) == 0 or refuse("have its own mounts: $!");
    my ($name, $answer) = ("/\0", "\0" x 512);
    refuse("/ is a file system of the guest's own, which could refuse by itself (FUSE)")
        if syscall($statfs, $name, $answer) == 0 and $of_fuse == unpack "L!", $answer;
    for (1 .. ($fine ? 50 : 5)) {  # another change within a tick would not show
        return if abs(($fine ? Time::HiRes::time() : time) - changed()) >= $tick;
        select undef, undef, undef, $tick / 2;
    }
    refuse("/ of the container changes all the time");
}
sub changed { ($fine ? Time::HiRes::stat("/") : stat("/"))[10] // refuse("/ of the container: $!") }
sub kernels {
    my ($path, $kind) = @_;
    my ($found, $answer) = (opened($cwd, $path, $path_only, $no_links), "\0" x 512);
    $found >= 0 and syscall($statfs + 1, $found, $answer) == 0 or refuse("the file system of $path: $!");
    refuse("$path is not the kernel's: the guest mounted something there")
        unless $kind == unpack "L!", $answer;
    return $found;
}
sub look {
    defined $firmware or return $nothing;
    my $found = kernels("/sys", $of_sys);
    open my $sys, "<&=", $found or refuse("/sys: $!");
    refuse("/sys is not all of the kernel's") unless $top == ((stat $sys)[1] // 0);
    return 0 if opened($found, $firmware, 0, $one_mount) >= 0;
    refuse("/sys/$firmware: $!: the guest mounted something there") if $!{EXDEV} or $!{ENOENT};
    return $! + 0;
}
sub change {
    my ($said, $own) = ("changeprofile unconfined", attribute("self", 1));
    return $! + 0 if $own < 0;
    defined POSIX::write($own, $said, length $said) ? 0 : $! + 0;
}
sub bind_proc {
    open my $proc, "<&=", kernels("/proc", $of_proc) or refuse("/proc: $!");
    refuse("/proc is not all of the kernel's") unless 1 == ((stat $proc)[1] // 0);
    chdir $proc or refuse("/proc: $!");
    my ($here, $there) = (".\0", "tty\0");  # no step of these is on a file system of the guest's
    syscall($mount, $here, $there, 0, $bind, 0) == 0 ? 0 : $! + 0;
}
my %attempt = (
    firmware => \&look,
    profile => \&change,
    network => sub { socket(my $one, 44, 3, 0) ? 0 : $! + 0 },
    mount => \&bind_proc,
);
$0 = "gate-attempt"; $| = 1;
for my $name (sort keys %attempt) {
    my $child = fork // die "fork: $!\n";
    if (not $child) {
        enter();
        my ($since, $code) = (changed(), $attempt{$name}->());
        refuse("/ of the container changed meanwhile") if $code and $since != changed();
        POSIX::_exit($code);
    }
    waitpid $child, 0;
    exit $untold if $? >> 8 == $untold;  # it has said why
    printf "%s %d %d\n", $name, $? >> 8, $? & 127;
}
