# What the gate asks, typed in one shell on the node: no checks, no evidence, no report. Without
# what the compared run leaves out, too: the prerequisites' backups and the rollback's rehearsals.
# The edited files lie in /root/files, where the benchmark put them.
set -e
cp -r /root/files/. /
systemctl reload apparmor
apparmor_status >/dev/null

phoenix create 950
inside() { pct exec 950 --keep-env 0 -- env HOME=/root "$@" </dev/null; }
inside docker info | grep 'Storage Driver'
inside docker run --rm hello-world

pct stop 950
pct start 950
until [ -n "$(inside docker info -f '{{.Driver}}' 2>/dev/null)" ]; do sleep 0.5; done
inside docker run --rm hello-world
inside systemctl is-system-running --wait || true

inside docker run -d --name bare hello-world /hello wait
inside grep fuse-overlayfs /proc/mounts
inside docker rm -f bare
phoenix create 950
grep -c DENIED /var/log/audit/audit.log || true
