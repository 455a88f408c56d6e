# Prints what the kernel and the daemons hold: settings, modules, links, addresses, firewall, and
# the processes that init looks after, of those that are named (/proc/PID). "not seen" is what
# cannot be read. Rules and command lines are hashed. Nothing is loaded: to list rules, nft and
# iptables-save would load nf_tables.

use strict;
use Hash::Util ();
$ENV{PATH} .= ":/usr/sbin:/sbin";
my $node = (readlink("/proc/self/ns/user") // "") eq "user:[4026531837]";  # init's namespace
#: Links that belong to guests or to Docker's containers, which come and go.
my $passing = qr/(?:veth[0-9A-Za-z_]+|(?:tap|fwbr|fwpr|fwln)[0-9]+[a-z0-9]*)/;
#: Counters, random values, keys, what modules and links say of themselves, and an automounter.
my $changing = qr{^(?:
      fs/(?:binfmt_misc|quota|dentry-state|inode-nr|inode-state|file-nr|aio-nr)
    | kernel/(?:random|spl/kmem|ns_last_pid|pty/nr|tainted|perf_event_max_sample_rate|hung_task_detect_count)
    | net/(?:core/netdev_rss_key|ipv4/tcp_fastopen_key|netfilter/nf_conntrack_count)
    | net/(?:netfilter/nf_log|ipv4/tcp_available_(?:congestion_control|ulp))
    | net/ipv6/conf/[^/]+/(?:stable_secret|mtu) | net/ipv[46]/(?:conf|neigh)/$passing
)(?:/|$)}x;
#: Modules that the kernel loads when anybody runs ss.
my $diagnostic = qr/^(?:inet|tcp|udp|raw|unix|netlink|af_packet|sctp|mptcp|vsock|xsk|tipc|smc)_diag$/;
#: Programs whose processes come and go: of logins and terminals, of other guests and their devices,
#: of Docker's and podman's containers. A process may call itself as it likes, so the file counts.
my $others = qr{^(?:/usr(?:/local)?)?/(?:s?bin|lib|libexec)/(?:[^/]+/)*(?:
      sshd|sshd-session|sshd-auth|login|agetty|tmux|screen|dtach
    | lxc-[a-z]+|kvm|qemu-system-[a-z0-9_]+|qemu-kvm|swtpm|virtiofsd
    | containerd-shim(?:-runc-v[0-9])?|fuse-overlayfs|conmon)(?:\ \(deleted\))?$}x;
my $named = qr/sshd|login|getty|tmux|screen|dtach|lxc|kvm|qemu|swtpm|virtiofsd|shim|fuse|conmon/i;
#: A task of Proxmox's daemons, whose file is perl: node, three numbers, kind, guest and user.
my $task = qr{^task UPID:[\w.-]+:(?:[0-9A-F]{8,9}:){3}\w+:[^:\0]*:[^:\0]+:};
#: Units that run for a while when a login, a connection, apt or a call over D-Bus wants them.
my $at_times = qr/^(?:user@|sshd?@|(?:packagekit|fwupd|polkit|apt-news|esm-cache)\.service$
    |systemd-(?:coredump@|(?:hostname|locale|timedate|machine|home)d\.service$))/x;

sub content { open my $file, "<", $_[0] or return; local $/; <$file> }
sub digest { sprintf "%x", Hash::Util::hash_value($_[0], "docker-lxc-gate" x 8) }
sub names { opendir my $all, $_[0] or return; sort grep !/^\.\.?$/, readdir $all }
sub said {
    open my $program, "-|", "$_[0] 2>/dev/null" or return;
    my @all = <$program>;
    close $program or print "not seen\t$_[0] failed\n";
    @all;
}
sub installed { my ($name) = @_; grep -x "$_/$name", split /:/, $ENV{PATH} }
sub part { print "\n== $_[0]\n" }

part "sysctl";
my $there = "/proc/sys";
my %settings;
# One grep takes a quarter of the time that this program would take.
for (said("find $there -path $there/fs/binfmt_misc -prune -o -type f -perm /444 -print0 "
        . "| xargs -0r grep -asH '' || :")) {
    my ($key, $value) = m{^\Q$there\E/([^:]*):(.*)} or next;
    # A guest's kernel settings that are not its own are read on the node.
    next if $key =~ $changing or !$node && $key !~ m{^(?:kernel|net|user|fs/mqueue)/};
    push @{$settings{$key}}, split " ", $value;
}
for my $key (sort keys %settings) {
    my $value = "@{$settings{$key}}";
    # A new link has the usual settings: it is one difference, not a hundred. A guest has no default
    # for neighbours.
    if (my ($kind, $link, $name) = $key =~ m{^(net/ipv[46]/(?:conf|neigh))/([^/]+)/(.*)}) {
        my $usual = $settings{"$kind/default/$name"} // $settings{"$kind/lo/$name"} // [];
        next if $link !~ /^(?:all|default|lo)$/ and $value eq "@$usual";
    }
    print "$key\t$value\n";
}

my %modules = map { /^(\S+) / ? ($1 => 1) : () } split /\n/, content("/proc/modules") // "";
part "module";
if ($node) { print "$_\tloaded\n" for grep !/$diagnostic/, sort keys %modules }

part "link";
for my $name (grep !/^$passing$/, names("/sys/class/net")) {
    my $link = "/sys/class/net/$name";
    my $flags = content("$link/flags") // next;
    my %has = map { /^(\w+)=(.*)/ ? ($1 => $2) : () } split /\n/, content("$link/uevent") // "";
    my @words = ($has{DEVTYPE} // "link", hex($flags) & 1 ? "up" : "down");
    push @words, "mtu " . (content("$link/mtu") // "");
    my ($master) = (readlink("$link/master") // "") =~ m{([^/]+)$};
    push @words, "of $master" if $master;
    # A bridge's address is random, or one of its members'.
    my $given = (content("$link/addr_assign_type") // "") =~ /^[03]$/ && !-d "$link/bridge";
    push @words, content("$link/address") // "" if $given;
    print "$name\t", join(" ", split " ", "@words"), "\n";
}
part "address";
if (installed("ip")) {
    for (said("ip -o address show")) {
        my ($name, $kind, $address, $more) = /^[0-9]+: (\S+) +(inet6?) (\S+) (.*)/ or next;
        next if $name =~ /^$passing$/ or $more =~ /temporary|tentative|deprecated/;
        # A lease comes when somebody answers, and is renewed.
        next if $more =~ / dynamic / or $kind eq "inet6" && $more =~ /scope link/;
        print "$name $kind\t$address\n";
    }
} else {
    print "not seen\tip (package iproute2) is not installed\n";
}

part "route";
# Routes of the kernel, of a lease and of a router follow the addresses; those of daemons come and go.
for my $what ("-4 route show table all", "-6 route show table all", "-4 rule show", "-6 rule show") {
    for (installed("ip") ? said("ip $what") : ()) {
        next if /\bdev $passing\b|\bproto (?:kernel|dhcp|ra|zebra|bgp|ospf|isis|rip|eigrp|babel|bird|openfabric|1[89][0-9])\b/;
        s/ (?:nhid [0-9]+|expires [0-9]+sec)//g;
        print join(" ", substr($what, 1, 1), split), "\tthere\n";
    }
}
part "parameter";
for my $file ($node ? glob("/sys/module/*/parameters/*") : ()) {
    my ($module, $name) = $file =~ m{/module/([^/]+)/parameters/([^/]+)$} or next;
    next if $module eq "damon_stat" and $name ne "enabled";  # what Linux 7 measures all the time
    my $value = (stat $file)[2] & 0400 ? content($file) : undef;
    printf "%s/%s\t%s\n", $module, $name, join " ", split " ", $value if defined $value;
}
part "ipc";
for my $kind (qw(shm msg sem)) {
    my (undef, @all) = split /\n/, content("/proc/sysvipc/$kind") // "";
    my %columns = (shm => [0, 2, 3, 7], msg => [0, 2, 7], sem => [0, 2, 3, 4]);
    print join(" ", $kind, (split " ")[@{$columns{$kind}}]), "\tthere\n" for @all;
}
part "environment";
/^(\w+)=(.*)/ and print "$1\t", digest($2), "\n" for said("systemctl show-environment");
part "audit";
for ($node && installed("auditctl") ? said("auditctl -l") : ()) {
    print "$1\tloaded\n" if /^(-.*\S)/;
}

#: The rules of each chain, in their order; Docker's rules have none.
my (%rules, %dockers, $table, $chain);
my $host = qr{(?:[0-9]+(?:\.[0-9]+){3}(?:/32)?|[0-9a-f:]*:[0-9a-f:]*(?:/128)?)};
my $address = qr{(?:-s|-d|saddr|daddr)[ ]$host(?=[ ])};
my $bridge = qr{(?:docker0|docker_gwbridge|br-[0-9a-f]{12})};
#: Of these words Docker makes its rules in chains that are not its own.
my $dockers_word = qr{^(?:
      !=?|-[iodsmj]|[io]ifname|"?$bridge"?|conntrack|--ctstate|RELATED,ESTABLISHED|ct|state
    | related,established|established,related|addrtype|--(?:src|dst)-type|LOCAL|fib|[sd]addr|type
    | local|ip6?|127\.0\.0\.0/8|::1(?:/128)?|[0-9a-f.:]+/(?!32$|128$)[0-9]+|counter|jump
    | accept|drop|masquerade|ACCEPT|DROP|MASQUERADE|DOCKER(?:-[A-Z0-9-]+)?|xt|match|target
    |"(?:addrtype|MASQUERADE)")$}x;
sub is_dockers {
    my ($rule) = @_;
    return 1 if $table =~ /^ip6? docker-bridges$/ or $chain =~ /^DOCKER(?:-(?!USER$)|$)/;
    return 0 if $chain !~ /^(?:FORWARD|PREROUTING|OUTPUT|POSTROUTING)$/;
    $rule =~ /\b(?:DOCKER|$bridge)\b/ and not grep !/$dockers_word/, split " ", $rule;
}
# Rules that come and go: bans; of a guest, by Proxmox's firewall; of a Docker container.
my $of_guest = qr/(?:veth|tap)[0-9]+i[0-9]+-(?:IN|OUT)/;
my $itself = qr{(?:-s|saddr) ($host) (?:-d|ip6? daddr) \1 .*(?:masquerade|MASQUERADE)};
my $past = qr{(?:(?:ip6? daddr $host|! -i $bridge|iifname != "$bridge") )+};
my $direct = qr{^(?:-d $host )?$past(?:-j DROP |counter drop)$};
sub passes {
    my ($rule) = @_;
    return 1 if "$table $chain" =~ / (?:f2b-|crowdsec|sshguard)/ or $chain =~ /^$of_guest$/;
    return 1 if $table =~ / proxmox-firewall-guests$/;
    return 1 if $chain =~ /^PVEFW-FWBR-(?:IN|OUT)$/ and $rule =~ /(?:-j|jump) $of_guest ?$/;
    return $rule =~ /$address|dnat|DNAT/ if is_dockers($rule);
    # A container that reaches itself by its published port; who reaches it past its bridge.
    return $rule =~ $itself if $chain eq "POSTROUTING";
    $chain eq "PREROUTING" and $rule =~ $direct and $rule =~ $bridge;
}
sub rule {
    my ($rule) = @_;
    return if passes($rule);
    if (is_dockers($rule)) { push @{$dockers{$table}}, "$chain $rule" }
    else { push @{$rules{"$table $chain"}}, $rule }
}
sub nft {
    for (said("nft -s -t list ruleset")) {
        if (/^table (\S+ \S+) \{/) { ($table, $chain) = ($1, "itself"); rule("") }
        elsif (/^\t(?:chain )?([^\t{]+) \{$/) { $chain = $1; rule("") }
        elsif (/^\t\t\s*(.*\S)/) { rule($1) unless $1 =~ /^#/ }
    }
}
sub xtables {
    my ($program, $family) = @_;
    for (said($program)) {
        if (/^\*(\S+)/) { $table = "$family $1" }
        elsif (/^:(\S+) (\S+)/) { $chain = $1; rule("policy $2") }
        elsif (/^-A (\S+) (.*)/) { $chain = $1; rule("$2 ") }
    }
}
part "firewall";
my ($version) = split / /, content("/proc/sys/kernel/osrelease") // "";
$version =~ s/\s//g;
my $built_in = !%modules || (content("/lib/modules/$version/modules.builtin") // "") =~ /nf_tables/;
my $nf_tables = $built_in || $modules{nf_tables};
my $legacy = join "", map content("/proc/net/$_") // "", qw(ip_tables_names ip6_tables_names);
if (installed("nft")) {
    nft() if $nf_tables;
} elsif (installed("iptables-save")) {
    xtables("iptables-save", "ip") if $nf_tables;
    xtables("ip6tables-save", "ip6") if $nf_tables;
} else {
    print "not seen\tneither nft (package nftables) nor iptables-save is installed\n";
}
if ($legacy) {
    xtables("iptables-legacy-save", "ip legacy");
    xtables("ip6tables-legacy-save", "ip6 legacy");
}
for my $where (sort keys %rules) {
    my @all = grep $_ ne "", @{$rules{$where}};
    # iptables makes these chains when Docker needs one: empty, they are as good as absent.
    my $usual = $where =~ /^ip6? (?:raw|mangle|nat|filter|security) /;
    next if $usual and !grep !/policy accept;?$/i, @all;
    printf "%s\t%d line(s), %s\n", $where, scalar @all, digest(join "\n", @all);
}
for my $where (sort keys %dockers) {
    my @all = sort grep / ./, @{$dockers{$where}};
    printf "Docker's %s\t%d line(s), %s\n", $where, scalar @all, digest(join "\n", @all);
}

# A process whose parent is init is a daemon, or was left running. Others are their parents' matter:
# workers, jobs of cron, whoever is logged in, and this program.
part "running";
my %running;
for my $process (@ARGV) {
    my ($parent) = (content("$process/stat") // "") =~ /.*\) \S ([0-9]+) /s or next;
    next if $parent != 1;  # a guest can make the command line of its own processes hang
    my $command = content("$process/cmdline") // "";
    next if $command eq "" or $command =~ $task;
    # AppArmor may refuse to name the file of a process under another profile, so few are asked.
    next if $command =~ $named and (readlink("$process/exe") // "") =~ $others;
    my ($unit) = (content("$process/cgroup") // "") =~ m{^(?:0:|1:name=systemd):(.*)$}m;
    $unit = ($unit // "") =~ m{/([^/]+\.(?:service|scope))(?:/|$)} ? $1 : "no unit";
    next if $unit =~ $at_times;
    (my $timer = $unit) =~ s/(?:@.*)?\.service$//;
    next if grep -e "$_/$timer.timer" || -e "$_/$timer\@.timer",
        qw(/usr/lib/systemd/system /etc/systemd/system /run/systemd/system /run/systemd/transient);
    $unit =~ s/^(run|session)-[^.]*/$1/;  # numbered, or named at random
    my ($name) = $command =~ m{^(?:[^\0 ]*/)?([^\0/ ]*)};
    $running{"$unit $name"}{digest($command)}++;
}
for my $key (sort keys %running) {
    (my $shown = $key) =~ s/\s/ /g;
    my $each = $running{$key};
    print "$shown\t$each->{$_} with $_\n" for sort keys %$each;
}
