# Attempts to break out of a container: words are "control" or "attempt", the machine (uname -m), the
# attempts' names with commas between them, and facts of the node. It runs as root of the node, of a
# container, and of a Docker container, whose image has perl and none of its modules. Each attempt is made
# in a child of its own; a line is its name, the errno (0: it succeeded, 200: there is nothing to try it on),
# and the signal that ended the child. escapes.toml says what each is, and why it is harmless. Where the
# kernel checks the right first, an argument is wrong: the error about that means that the right is there.
# Sources: the manual pages of the calls; kernel/{reboot,kexec,kexec_file}.c, kernel/module/main.c,
# kernel/time/time.c (settimeofday of nothing), mm/swapfile.c, security/apparmor/apparmorfs.c, fs/fhandle.c.

my ($place, $machine, $names, @facts) = @ARGV;
my %fact = map { split /=/, $_, 2 } @facts;
my $column = {x86_64 => 0, aarch64 => 1}->{$machine};
defined $column and 8 == length pack "L!", 0 or die "the system calls of $machine are not known here\n";
my %number = (
    mount => [165, 40], unshare => [272, 97], mknodat => [259, 33], process_vm_readv => [310, 270],
    init_module => [175, 105], finit_module => [313, 273], delete_module => [176, 106],
    kexec_load => [246, 104], kexec_file_load => [320, 294], swapon => [167, 224], reboot => [169, 142],
    settimeofday => [164, 170], keyctl => [250, 219], bpf => [321, 280], perf_event_open => [298, 241],
    io_uring_setup => [425, 425], userfaultfd => [323, 282], open_by_handle_at => [304, 265],
);
my ($enoent, $esrch, $enoexec, $ebadf, $efault, $einval) = (2, 3, 8, 9, 14, 22);
my ($eproto, $eprotonosupport, $estale, $nothing) = (71, 93, 116, 200);
my ($write_only, $nonblock) = (1, 0x800);

sub ended { my ($ok, @fine) = @_; my $code = $! + 0; $ok || (grep { $_ == $code } @fine) ? 0 : $code }
# Makes a system call; a list at its end has the errors that come after the check.
sub call {
    my ($name, @words) = @_;
    my @fine = ref $words[-1] ? @{pop @words} : ();
    return ended(syscall($number{$name}[$column], @words) >= 0, @fine);
}
# Of several calls, the control must make all; one is enough to break out.
sub several {
    my @refused = grep { $_ } @_;
    return $place eq "control" || @refused == @_ ? $refused[0] // 0 : 0;
}
# Docker masks a file by /dev/null, and a directory by an empty one; sysfs has empty ones to mount on.
sub opens {
    my $code = ended(sysopen my $file, $_[0], $_[1] // 0);
    return $code || (-f $file || -b _ ? 0 : $enoent);
}
sub writes { opens($_[0], $write_only) }
sub lists {
    my $code = ended(opendir my $folder, $_[0]);
    return $code || (2 < (() = readdir $folder) ? 0 : $enoent);
}
sub connects { ended(socket my $one, $_[0], $_[1], 0) }
sub entries {
    my ($folder) = @_;
    opendir my $open, $folder or return;
    return map { "$folder/$_" } sort grep { !/^\.\.?\z/ } readdir $open;
}

# All mounts are made over a place that each proc has, in a mount namespace of the child's own. From the
# node's cgroup namespace, a mount of cgroup2 sets the options of all of them (nsdelegate is lost).
my $over = "/proc/tty";
sub mounts {
    my ($type, $from, $flags, $data) = @_;
    my ($own, $private) = (0x20000 | ($type eq "cgroup2" ? 0x2000000 : 0), 0x4000 | 0x40000);
    return call("unshare", $own) || call("mount", "none", "/", 0, $private, 0)
        || call("mount", $from // "none", $over, $type, $flags // 0, $data // 0);
}
sub release_agent { mounts("cgroup", "none", 0, "none,name=docker-lxc-gate") || writes("$over/release_agent") }
sub disk {
    my %wanted = map { $_ => 1 } split /\./, $fact{disk} // return $nothing;
    my @nodes = grep { -b and $wanted{(stat _)[6]} } map { $_, -l || !-d ? () : entries($_) } entries("/dev");
    return @nodes ? (sort { $a <=> $b } map { opens($_, $nonblock) } @nodes)[0] : $enoent;
}
sub makes_node {
    my ($device) = split /\./, $fact{disk} // return $nothing;
    my $code = call("mknodat", -100, "/dev/docker-lxc-gate", 0060600, $device + 0);
    $code or unlink "/dev/docker-lxc-gate";
    return $code;
}
# Reaches a process of the node or of a neighbour; the same number may be another process here.
sub reaches {
    my ($pid, $start) = ($fact{$_[0]} // "") =~ /^([0-9]+):([0-9]+)\z/ or return $nothing;
    open my $stat, "<", "/proc/$pid/stat" or return $esrch;
    my @fields = split " ", (join("", <$stat>) =~ /.*\) (.*)/s)[0] // "";
    return $esrch if $start ne ($fields[19] // "");
    my $room = "\0";
    my @vectors = (pack("PQ", $room, 1), 1, pack("QQ", 0, 1), 1);
    my $reads = call("process_vm_readv", $pid + 0, @vectors, 0, [$efault]);
    return several(ended(kill 0, $pid), $reads, lists("/proc/$pid/root"));
}
sub changes_to {
    my ($profile) = (@_, undef);
    defined $profile or return $nothing;
    my ($own) = grep { -e } "/proc/self/attr/apparmor/current", "/proc/self/attr/current";
    my $code = ended(sysopen my $label, $own // "", $write_only);
    return $code || ended(syswrite $label, "changeprofile $profile");
}
sub policy {
    my $code = ended(sysopen my $file, "/sys/kernel/security/apparmor/$_[0]", $write_only);
    return $code || ended(syswrite($file, "docker-lxc-gate"), $eproto, $eprotonosupport, $einval, $enoent);
}
sub firmware {
    opendir my $all, "/sys/firmware" or return $! + 0;
    my @codes = map { lists($_) } grep { -d } entries("/sys/firmware");
    return @codes ? (sort { $a <=> $b } @codes)[0] : $enoent;
}
sub modules {
    my @loads = (call("init_module", 0, 0, "", [$enoexec]), call("finit_module", -1, "", 0, [$ebadf]));
    return several(@loads, call("delete_module", "docker_lxc_gate", $nonblock, [$enoent]));
}
sub kernels {
    my ($too_many, $no_flag, $no_other) = (17, 0x8000, 0x40000000);
    my $loads = call("kexec_load", 0, $too_many, 0, $no_flag, [$einval]);
    return several($loads, call("kexec_file_load", -1, -1, 0, 0, $no_other, [$einval]));
}
sub ctrl_alt_del {
    open my $now, "<", "/proc/sys/kernel/ctrl-alt-del" or return $! + 0;
    return call("reboot", 0xfee1dead, 672274793, <$now> == 1 ? 0x89abcdef : 0, 0);
}
sub handle {
    open my $root, "<", "/" or return $! + 0;
    my $of_inode_2 = pack "LlLL", 8, 1, 2, 0;
    return call("open_by_handle_at", fileno $root, $of_inode_2, 0, [$estale]);
}
my $disabled_software_event = pack "LLQQQQQQQ", 1, 64, 0, 0, 0, 0, 1, 0, 0;

my %attempt = (
    disk => \&disk,
    mknod => \&makes_node,
    kcore => sub { opens("/proc/kcore") },
    firmware => \&firmware,
    acpi => sub { opens("/proc/acpi/wakeup") },
    sysrq => sub { writes("/proc/sysrq-trigger") },
    sysctl => sub { several(map { writes("/proc/sys/$_") } "kernel/panic", "vm/panic_on_oom") },
    helpers => sub { several(map { writes("/proc/sys/kernel/$_") } "core_pattern", "modprobe") },
    uevent => sub { writes("/sys/kernel/uevent_helper") },
    release => \&release_agent,
    binfmt => sub { writes("/proc/sys/fs/binfmt_misc/register") },
    debugfs => sub { lists("/sys/kernel/debug") },
    tracefs => sub { lists("/sys/kernel/tracing") },
    kernelfs => sub { several(map { mounts($_) } "debugfs", "tracefs", "securityfs") },
    policy => sub { several(map { policy($_) } ".load", ".replace", ".remove") },
    unconfined => sub { changes_to("unconfined") },
    profile => sub { changes_to($fact{profile}) },
    mount => sub { several(map { mounts($_) } "proc", "sysfs", "cgroup2") },
    overlay => sub { mounts("overlay", "none", 0, "lowerdir=/tmp:/bin") },
    bind => sub { mounts(0, "/proc", 0x1000 | 0x4000) },
    move => sub { mounts(0, "/sys", 0x2000) },
    module => \&modules,
    kexec => \&kernels,
    swap => sub { call("swapon", "/docker-lxc-gate/none", 0, [$enoent]) },
    reboot => \&ctrl_alt_del,
    clock => sub { call("settimeofday", 0, 0) },
    process => sub { reaches("node") },
    neighbour => sub { reaches("neighbour") },
    key => sub { defined $fact{key} ? call("keyctl", 6, $fact{key} + 0, 0, 0, 0) : $nothing },
    handle => \&handle,
    alg => sub { connects(38, 5) },
    vsock => sub { connects(40, 1) },
    packet => sub { connects(17, 3) },
    bpf => sub { call("bpf", 11, pack("LLL", 0, 0, 0), 12, [$enoent]) },
    "bpf-map" => sub { call("bpf", 0, pack("LLLLL", 2, 4, 4, 1, 0), 20) },
    perf => sub { call("perf_event_open", $disabled_software_event, -1, 0, -1, 0) },
    "io-uring" => sub { call("io_uring_setup", 1, "\0" x 120) },
    uffd => sub { call("userfaultfd", 0x80000) },
    userns => sub { call("unshare", 0x10000000) },
);
$| = 1;
for my $name (split /,/, $names) {
    my $code = $attempt{$name} or die "no attempt $name is known here\n";
    my $child = fork // die "fork: $!\n";
    if (not $child) {
        $0 = "gate-$name";  # stands in the record of a denial
        alarm 30;
        exit $code->();
    }
    waitpid $child, 0;
    printf "%s %d %d\n", $name, $? >> 8, $? & 127;
}
