
into /usr/local/bin/names 755 <<'PROGRAM'
#!/usr/bin/perl
my @names = ("\n/proc/1/attr:x", "\e[2J\e[31mred", "dockerd\nx", "a) S 1 (b", "dockerd");
for my $n (1 .. 400) {
    next if fork;
    $0 = $n < 360 ? $names[$n % 4] : $names[4];
    sleep 600; exit;
}
sleep 600;
PROGRAM
inside systemd-run -q --unit=names /usr/local/bin/names
inside sh -c 'mkdir -p "/sys/fs/cgroup/$(printf "a\033[2J")/docker.service"'
# Where the profile lets systemd mount.
inside sh -c 'for n in $(seq 60); do
    at="/run/systemd/mount-rootfs/$(printf "\033[2J\177")$n"
    mkdir -p "$at"; mount -t tmpfs "$(printf "\f\033[2J")" "$at"
done'
