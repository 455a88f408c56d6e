# Prints one line a storage: name, type, status, directory. pvesm derives the directory from the
# name of a backup that need not exist. A backup server has no directory: its backups follow, each
# line after a dash, or its error stands in place of the directory. The last line is our own place.

set -e
[ -z "$(command -v pvesm)" ] || listing=$(pvesm status --content backup)
printf '%s\n' "$listing" | while read -r name type status _; do
    case $name in Name | '') continue ;; esac
    place='' volumes=''
    if [ "$status" = active ] && [ "$type" = pbs ]; then
        volumes=$(pvesm list "$name" --content backup --vmid "$1" 2>&1 </dev/null) || {
            status=unlisted place=$(printf %s "$volumes" | head -n 1) volumes=
        }
    elif [ "$status" = active ]; then
        place=$(pvesm path "$name:backup/vzdump-lxc-$1-2000_01_01-00_00_00.tar.zst" </dev/null)
        place=${place%/*}
    fi
    echo "$name $type $status $place"
    printf '%s\n' "$volumes" | sed 's/^/- /'
done
echo "local dir active $2"
