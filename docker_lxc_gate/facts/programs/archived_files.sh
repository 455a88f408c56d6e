# Prints which of some paths are on the root file system of a container, each with its age in seconds. A
# mount point may be in no archive. Arguments: the paths.

root=$(stat -c %d /) || exit
now=$(date +%s) || exit
for path; do
    # shellcheck disable=SC2046 # words
    set -- $(stat -c '%d %W %Y' -- "$path" 2>/dev/null)
    [ "$1" = "$root" ] || continue
    [ "$2" -gt 0 ] 2>/dev/null || shift # its birth is unknown: then its last change
    echo "$path $((now - $2))"
done
