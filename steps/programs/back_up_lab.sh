# Archives /etc below $5, and a container in vzdump's layout, into the directory $1: the id $2, the
# root file system $3, the configuration $4. The lab has no vzdump.

set -e
umask 077
mkdir -p -- "$1"
now=$(date +%Y_%m_%d-%H_%M_%S) host=$(uname -n) scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
# tar's exit code 1 means that files changed while it read them.
pack() {
    file=$1 code=0; shift
    LC_ALL=C tar --create --file="$file" --force-local --use-compress-program='zstd -1 -T0' \
        --numeric-owner --acls --xattrs --xattrs-include='*' "$@" || code=$?
    [ "$code" -le 1 ]
}
pack "$1/etc-${host%%.*}-$now.tar.zst" -C "$5" etc
mkdir -p "$scratch/etc/vzdump"
cat -- "$4" >"$scratch/etc/vzdump/pct.conf"
name=$1/vzdump-lxc-$2-$now
pack "$name.tar.zst" --one-file-system -C "$scratch" ./etc/vzdump/pct.conf -C "$3" .
echo "$(date '+%F %T') INFO: Finished Backup of VM $2" >"$name.log"
