# Restarts the container, and waits until it has booted and has a default route.
set -e
inside() { pct exec 950 -- "$@" </dev/null; }
pct shutdown 950 --timeout 60 --forceStop 1
pct start 950
until inside systemctl is-system-running --wait | grep -E 'running|degraded'; do sleep 0.5; done
until inside grep -E '^[a-z0-9]+[[:space:]]00000000' /proc/net/route; do sleep 0.5; done
