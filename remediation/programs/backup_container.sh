# Archives a container in vzdump's layout: the configuration first, then the root file system.
# shellcheck disable=SC2154 # pack.sh comes first

[ -d "$3" ] || { echo "$3 is no directory" >&2; exit 2; }
name=$1/vzdump-lxc-$2-$now scratch=$(mktemp -d)
exec >"$name.log" 2>&1
say() { echo "$(date '+%F %T') $*"; }
say "INFO: Starting Backup of VM $2 (lxc)"
mkdir -p "$scratch/etc/vzdump"
cat -- "$4" >"$scratch/etc/vzdump/pct.conf"
pack "$name.tar.zst" --one-file-system -C "$scratch" ./etc/vzdump/pct.conf -C "$3" . || {
    say "ERROR: Backup of VM $2 failed - tar ended with $?"
    exit 2
}
say "INFO: Finished Backup of VM $2"
