# Prints the state of a machine in parts. Content is hashed.
# shellcheck disable=SC2086

export LC_ALL=C
part() { printf '\n== %s\n' "$1"; }
there() { for each; do test ! -d "$each" || printf '%s\n' "$each"; done; }
hashed=$(there $1)
all=$(there $2)
units=$(there $3)
files=$4 kernel=$5
processes=$(echo /proc/[0-9]*)
shift 5  # the rest is find's: what is pruned, and on Proxmox the guests of the cluster's other nodes
own=$(readlink /etc/pve/local) &&
    set -- "$@" -path '/etc/pve/nodes/*' ! -path "/etc/pve/$own" ! -path "/etc/pve/$own/*" -prune -o
part files
perl -e "$files" list $all -xdev "$@" -printf '%p\0%y %m %U:%G %s %l|%T@ %i %C@\0' || exit 9
part content
perl -e "$files" hash $hashed -xdev "$@" -type f -print0 || exit 9
part attributes
if command -v getfattr >/dev/null; then
    find $hashed -xdev -exec getfattr -h -d -m - -e hex --absolute-names -- {} + || exit 9
else
    printf '# file: not seen\ngetfattr (package attr) is not installed\n'
fi
part package
dpkg-query -W -f '${Package}:${Architecture}\t${db:Status-Abbrev} ${Version}\n' || exit 9
part mark
test ! -e /var/lib/apt/extended_states ||
    awk '/^Package:/ { name = $2 } /^Auto-Installed: 1/ { print name "\tauto" }' /var/lib/apt/extended_states || exit 9
part diversion
test ! -e /var/lib/dpkg/diversions || paste - - - </var/lib/dpkg/diversions || exit 9
part volume
test ! -d /var/lib/docker/volumes ||
    find /var/lib/docker/volumes -ignore_readdir_race -mindepth 1 -maxdepth 3 -printf '%p\t%y %m %U:%G\n' || exit 9
part runtime
find / -mindepth 1 -maxdepth 1 -type d -printf '%p\t%y %m %U:%G\n' || exit 9
find /run -ignore_readdir_race -mindepth 1 -maxdepth 1 -printf '%p\t%y %m %U:%G\n' || exit 9
part policy
cd /sys/kernel/security/apparmor/policy/profiles 2>/dev/null &&
    grep -H . -- */mode */raw_sha256 | sed -E 's|^(.*)\.[0-9]+/mode:|\1\t|;
        s|^(.*)\.[0-9]+/raw_sha256:|hash of \1\t|'
part unit
test -n "$units" || exit 9  # find would look where it stands
find $units -printf '%p\t%y %l\n' || exit 9
part active
# A service that a timer starts comes and goes.
systemctl list-units --full --plain --no-legend --type=service,socket,timer --state=active,failed |
    awk '{ unit[$1] = $0 } END {
        for (name in unit) {
            timer = name; sub(/(@.*)?\.service$/, ".timer", timer)
            if (timer == name || !(timer in unit)) print unit[name]
        }
    }' | sed 's/  */\t/'
part mount
sed -E 's/,(size|nr_inodes)=[^, ]*//g' /proc/self/mounts | awk '{ print $2 "\t" $1, $3, $4 }'
test ! -e /proc/swaps ||  # a kernel without swap
    awk 'NR > 1 { print "swap on " $1 "\t" $2 }' /proc/swaps || exit 9
perl -e "$kernel" -- $processes || exit 9  # those that still run
