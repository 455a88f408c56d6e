# Prints which of some paths are on the root file system of a container, then how many files are in its
# /etc and /usr there. A mount point may be in no archive. Arguments: the paths.

root=$(stat -c %d /) || exit
for path; do
    [ "$(stat -c %d -- "$path" 2>/dev/null)" != "$root" ] || echo "$path"
done
find /etc /usr -xdev | wc -l
