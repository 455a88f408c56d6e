# Attempts to break out of a container: words are the machine (uname -m), the attempts' names with commas
# between them, and facts of the node. It runs as root of the node, of a container, and of a Docker
# container, whose image has perl and none of its modules. Each attempt is made in a child of its own; a
# line is its name, the errno (0: it succeeded, 200: there is nothing to try), and the signal that ended
# the child. escapes.toml says what each one is, and why it is harmless. Where the kernel checks the right
# first and the arguments then, an argument is wrong, and the error about it means that the right was there.
# Sources: the manual pages of the calls; kernel/reboot.c, kernel/kexec*.c, kernel/module/main.c,
# kernel/time/time.c (settimeofday of nothing), mm/swapfile.c, security/apparmor/apparmorfs.c, fs/fhandle.c.

my ($machine, $names, @facts) = @ARGV;
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
my ($eperm, $enoent, $esrch, $enoexec, $ebadf, $efault, $einval) = (1, 2, 3, 8, 9, 14, 22);
my ($eproto, $eprotonosupport, $estale, $nothing) = (71, 93, 116, 200);
my ($write_only, $nonblock) = (1, 0x800);

# Makes a system call, and returns 0 if it succeeded, or failed by an error that comes after the check.
sub call {
    my ($name, @words) = @_;
    my @passes = ref $words[-1] ? @{pop @words} : ();
    return 0 if syscall($number{$name}[$column], @words) >= 0;
    my $code = $! + 0;
    return (grep { $_ == $code } @passes) ? 0 : $code;
}
sub opens { sysopen(my $file, $_[0], $_[1] // 0) ? 0 : $! + 0 }
sub writes { opens($_[0], $write_only) }
sub lists { opendir(my $folder, $_[0]) ? 0 : $! + 0 }
sub has_socket { socket(my $one, $_[0], $_[1], 0) ? 0 : $! + 0 }
sub entries {
    my ($folder) = @_;
    opendir my $open, $folder or return;
    return map { "$folder/$_" } sort grep { !/^\.\.?\z/ } readdir $open;
}

# A place that every proc has, in a mount namespace of the child's own: all mounts end with it.
my $place = "/proc/tty";
sub mounts {
    my ($type, $from, $flags, $data) = @_;
    my ($own, $private) = (0x20000, 0x4000 | 0x40000);
    return call("unshare", $own) || call("mount", "none", "/", 0, $private, 0)
        || call("mount", $from // "none", $place, $type, $flags // 0, $data // 0);
}

sub device {
    my ($major, $minor) = ($fact{disk} // "") =~ /^(\d+):(\d+)\z/ or return;
    return ($minor & 0xff) | ($major << 8) | (($minor & ~0xff) << 12);
}
sub disk {
    my $device = device() // return $nothing;
    my @nodes = grep { -b and (stat _)[6] == $device } map { $_, -l || !-d ? () : entries($_) } entries("/dev");
    return @nodes ? (sort { $a <=> $b } map { opens($_, $nonblock) } @nodes)[0] : $enoent;
}
sub make_node {
    my $device = device() // return $nothing;
    my $name = "/dev/docker-lxc-gate";
    my $code = call("mknodat", -100, $name, 0060600, $device);
    $code or unlink $name;
    return $code;
}

# A process of the node or of a neighbour: the same number may be another process here.
sub process {
    my ($pid, $start) = ($fact{$_[0]} // "") =~ /^(\d+):(\d+)\z/ or return $nothing;
    open my $stat, "<", "/proc/$pid/stat" or return $esrch;
    my @fields = split " ", (join("", <$stat>) =~ /.*\) (.*)/s)[0] // "";
    return $start eq ($fields[19] // "") ? (0, $pid + 0) : $esrch;
}
sub signals { my ($code, $pid) = process($_[0]); $code || (kill(0, $pid) ? 0 : $! + 0) }
sub enters { my ($code, $pid) = process($_[0]); $code || lists("/proc/$pid/root") }
sub traces {
    my ($code, $pid) = process($_[0]);
    my $room = "\0";
    return $code || call("process_vm_readv", $pid, pack("PQ", $room, 1), 1, pack("QQ", 0, 1), 1, 0, [$efault]);
}

sub changes_to {
    my ($profile) = @_;
    defined $profile or return $nothing;
    my ($own) = grep { -e } "/proc/self/attr/apparmor/current", "/proc/self/attr/current";
    sysopen(my $label, $own // "", $write_only) or return $! + 0;
    return defined syswrite($label, "changeprofile $profile") ? 0 : $! + 0;
}
sub policy {
    my ($file, $text) = @_;
    sysopen(my $policy, "/sys/kernel/security/apparmor/$file", $write_only) or return $! + 0;
    return 0 if defined syswrite $policy, $text;
    my $code = $! + 0;  # of what is no policy, or no profile's name
    return (grep { $_ == $code } $eproto, $eprotonosupport, $einval, $enoent) ? 0 : $code;
}
sub firmware {
    opendir my $all, "/sys/firmware" or return $! + 0;
    my @codes = map { lists($_) } grep { -d } entries("/sys/firmware");
    return @codes ? (sort { $a <=> $b } @codes)[0] : $enoent;
}
sub ctrl_alt_del {
    open my $now, "<", "/proc/sys/kernel/ctrl-alt-del" or return $! + 0;
    my $as_it_is = <$now> == 1 ? 0x89abcdef : 0;
    return call("reboot", 0xfee1dead, 672274793, $as_it_is, 0);
}
sub perf {
    my ($software, $size, $disabled, $all, $first) = (1, 64, 1, -1, 0);
    my $event = pack "LLQQQQQQQ", $software, $size, 0, 0, 0, 0, $disabled, 0, 0;
    return call("perf_event_open", $event, $all, $first, -1, 0);
}
sub release_agent { mounts("cgroup", "none", 0, "none,name=docker-lxc-gate") || writes("$place/release_agent") }
sub handle {
    open my $root, "<", "/" or return $! + 0;
    my $of_inode_2 = pack "LlLL", 8, 1, 2, 0;
    return call("open_by_handle_at", fileno $root, $of_inode_2, 0, [$estale]);
}

my %attempt = (
    disk => \&disk,
    mknod => \&make_node,
    sysrq => sub { writes("/proc/sysrq-trigger") },
    kcore => sub { opens("/proc/kcore") },
    kernel => sub { writes("/proc/sys/kernel/panic") },
    vm => sub { writes("/proc/sys/vm/panic_on_oom") },
    core => sub { writes("/proc/sys/kernel/core_pattern") },
    modprobe => sub { writes("/proc/sys/kernel/modprobe") },
    binfmt => sub { writes("/proc/sys/fs/binfmt_misc/register") },
    uevent => sub { writes("/sys/kernel/uevent_helper") },
    power => sub { writes("/sys/power/state") },
    release => \&release_agent,
    firmware => \&firmware,
    debugfs => sub { lists("/sys/kernel/debug") },
    tracefs => sub { lists("/sys/kernel/tracing") },
    kernelfs => sub { mounts("debugfs") && mounts("tracefs") && mounts("securityfs") },
    load => sub { policy(".load", "none") },
    replace => sub { policy(".replace", "none") },
    remove => sub { policy(".remove", "docker-lxc-gate-none") },
    unconfined => sub { changes_to("unconfined") },
    profile => sub { changes_to($fact{profile}) },
    proc => sub { mounts("proc") },
    sysfs => sub { mounts("sysfs") },
    cgroup2 => sub { mounts("cgroup2") },
    overlay => sub { mounts("overlay", "none", 0, "lowerdir=/tmp:/bin") },
    bind => sub { mounts(0, "/proc", 0x1000 | 0x4000) },
    move => sub { mounts(0, "/sys", 0x2000) },
    module => sub { call("init_module", 0, 0, "", [$enoexec]) },
    finit => sub { call("finit_module", -1, "", 0, [$ebadf]) },
    unload => sub { call("delete_module", "docker_lxc_gate_none", $nonblock, [$enoent]) },
    kexec => sub { call("kexec_load", 0, 17, 0, 0x8000, [$einval]) },
    "kexec-file" => sub { call("kexec_file_load", -1, -1, 0, 0, 0x40000000, [$einval]) },
    swap => sub { call("swapon", "/docker-lxc-gate/none", 0, [$enoent]) },
    reboot => \&ctrl_alt_del,
    clock => sub { call("settimeofday", 0, 0) },
    signal => sub { signals("node") },
    trace => sub { traces("node") },
    root => sub { enters("node") },
    "n-signal" => sub { signals("neighbour") },
    "n-trace" => sub { traces("neighbour") },
    "n-root" => sub { enters("neighbour") },
    key => sub { defined $fact{key} ? call("keyctl", 6, $fact{key} + 0, 0, 0, 0) : $nothing },
    alg => sub { has_socket(38, 5) },
    vsock => sub { has_socket(40, 1) },
    packet => sub { has_socket(17, 3) },
    bpf => sub { call("bpf", 11, pack("LLL", 0, 0, 0), 12, [$enoent]) },
    "bpf-map" => sub { call("bpf", 0, pack("LLLLL", 2, 4, 4, 1, 0), 20) },
    perf => \&perf,
    "io-uring" => sub { call("io_uring_setup", 1, "\0" x 120) },
    uffd => sub { call("userfaultfd", 0x80000) },
    userns => sub { call("unshare", 0x10000000) },
    handle => \&handle,
);
$| = 1;
for my $name (split /,/, $names) {
    my $code = $attempt{$name} or die "no attempt $name is known here\n";
    my $child = fork // die "fork: $!\n";
    if (not $child) {
        $0 = "gate-$name";  # stands in the record of a denial
        alarm 10;
        exit $code->();
    }
    waitpid $child, 0;
    printf "%s %d %d\n", $name, $? >> 8, $? & 127;
}
