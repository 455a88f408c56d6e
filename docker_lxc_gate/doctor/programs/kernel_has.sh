# Names those of the given modules that the node's kernel has, loaded or not.

PATH=$PATH:/usr/sbin:/sbin
command -v modinfo >/dev/null || { echo "there is no modinfo" >&2; exit 4; }
for name; do
    ! modinfo "$name" >/dev/null 2>&1 || echo "$name"
done
:
