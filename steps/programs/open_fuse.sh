# Opens /dev/fuse for reading and writing.

[ -e /dev/fuse ] || { echo 'it is not there' >&2; exit 1; }
exec 3<>/dev/fuse
