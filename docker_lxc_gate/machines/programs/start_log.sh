# Starts container $2 by the command behind it, and prints the last $1 bytes of what that wrote. It goes to a file of
# root's, because LXC's monitor would keep a pipe open. A start that failed is over when the state is settled.

most=$1 ctid=$2
shift 2
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
trap 'exit 1' HUP INT TERM
"$@" >>"$log" 2>&1 </dev/null
for _ in $(seq 100); do
    case $(lxc-info -P /var/lib/lxc -n "$ctid" -s -H 2>/dev/null) in
        STARTING | STOPPING | ABORTING) sleep 0.2 ;;
        *) break ;;
    esac
done
tail -c "$most" "$log"
