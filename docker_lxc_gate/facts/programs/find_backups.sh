# Prints the node's time and name, the member that a Proxmox backup of /etc must hold (absent while
# pmxcfs is not mounted), and each archive: its size, the time in its name or else of its last change, and
# its path.

set -e
ctid=$1 pve=$2 host=$(uname -n) host=${host%%.*}; shift 2
for place; do
    shift
    [ ! -d "$place" ] || set -- "$@" "$place"
done
date +%s; echo "$host"; [ ! -d "$pve" ] || echo etc/pve/lxc; echo
[ $# -gt 0 ] || exit 0
files=$(find -L "$@" -maxdepth 1 -type f -regextype posix-extended \
    -regex '.*\.tar(\.(zst|gz|lzo|xz|bz2))?' \
    \( -name "vzdump-lxc-$ctid-*" -o -name "etc-$host-*" \) -printf '%s %T@ %p\n')
d='([0-9][0-9])'
[ -z "$files" ] || printf '%s\n' "$files" | while read -r size made path; do
    stamp=$(printf '%s\n' "$path" |
        sed -nE "s/^.*-([0-9]{4})_${d}_$d-${d}_${d}_$d\.tar(\.[a-z0-9]+)?$/\1-\2-\3 \4:\5:\6/p")
    [ -z "$stamp" ] || made=$(date -d "$stamp" +%s)
    printf '%s %s %s\n' "$size" "$made" "$path"
done
