# Sets `pid` to the container's first process, or ends with what a reader needs.

pid=$(lxc-info -P /var/lib/lxc -n "$1" -p -H 2>/dev/null)
case $pid in ''|*[!0-9]*) echo "container $1 does not run" >&2; exit 4;; esac
