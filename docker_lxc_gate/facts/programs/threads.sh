# Prints the name, the label and the seccomp mode of each thread in the cgroups of a container: each
# thread has its own. A thread that ends in between is left out. Threads in the container's pid or
# user namespace, or in one below it, count, too (members.pl), because a process that enters by
# nsenter is in no cgroup of the container.

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin  # find's -execdir asks for one like this
# The first match: below it the guest may create a cgroup with the same name.
path=$(sed -nE 's#^[0-9]+:(name=systemd)?:/#/#; T; s#(/lxc(\.payload\.|/)[^/]+).*$#\1#p' \
    "/proc/$1/cgroup" | tail -n 1)
[ -n "$path" ] || { echo "no cgroup of LXC's: $(cat "/proc/$1/cgroup")" >&2; exit 4; }
label=attr/apparmor/current
[ -e "/proc/self/$label" ] || label=attr/current
inside=$(members "$1") || exit 4
threads=$({
    for root in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
        [ ! -d "$root$path" ] ||
            # -execdir: the guest may nest them deeper than a path can be long
            find "$root$path" \( -name cgroup.threads -o -name tasks \) -execdir cat {} + 2>/dev/null
    done
    for pid in $inside; do
        for task in "/proc/$pid/task"/[0-9]*; do echo "${task##*/}"; done
    done
} | grep -x '[0-9]*' | sort -nu)
for each in $threads; do echo "/proc/$each/comm /proc/$each/$label"; done | xargs grep -asH ''
for each in $threads; do echo "/proc/$each/status"; done | xargs grep -asH '^Seccomp:'
for each in $threads; do [ ! -d "/proc/$each" ] || echo "alive $each"; done
