# Prints the files of which a container's filter of system calls is made, if they were changed since
# its first process was started: the configuration, what it includes, and the list. The first
# argument is the configuration, the others print the pid. The time of a file's status change counts,
# because nobody can set it back.

set -f
next=$1
shift
pid=$("$@") && read -r up _ </proc/uptime && now=$(date +%s.%N) || exit 9
ticks=$(sed 's/.*) //' "/proc/$pid/stat" | cut -d ' ' -f 20)
[ -n "$ticks" ] || exit 9
start=$(echo "$now $up $ticks $(getconf CLK_TCK)" | awk '{ printf "%.2f", $1 - $2 + $3 / $4 }')
value() {
    key=$1
    shift
    find -L "$@" -maxdepth 1 -type f -exec \
        sed -nE "s/^[[:space:]]*${key}[[:space:]]*=[[:space:]]*([^[:space:]]+).*/\1/p" {} +
}
# shellcheck disable=SC2086 # LXC's paths have no blanks
for _ in 1 2 3 4 5 6 7 8 9; do  # runtime/base.py reads no more levels
    [ -n "$next" ] || break
    all="$all $next"
    next=$(value 'lxc\.include' $next)
done
# shellcheck disable=SC2086
for each in $all $(value 'lxc\.seccomp\.profile' $all); do
    [ ! -e "$each" ] || LC_ALL=C find -L "$each" -maxdepth 1 -newerct "@$start" || exit 9
done
