# Prints the lines that are about these packages, and apt's own count, which is always there.

most=$1 longest=$2 names=$3
shift 3
command -v apt-get >/dev/null || { echo "there is no apt-get" >&2; exit 4; }
for lock in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock; do
    node=$(stat -c %i "$lock" 2>/dev/null) || continue
    grep -q ":$node " /proc/locks || continue
    echo "apt or dpkg is at work there: ask again when it has ended" >&2
    exit 5
done
said=$(LC_ALL=C apt-get -q -s "$@" dist-upgrade) || exit
printf '%s\n' "$said" | LC_ALL=C grep -aE "^(Inst|Remv|Purg) ($names)(:[a-z0-9]+)? " |
    head -n "$most" | cut -c "1-$longest"
printf '%s\n' "$said" | LC_ALL=C grep -aE '^[0-9]+ upgraded, ' | head -n 1 | cut -c "1-$longest"
