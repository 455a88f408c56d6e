# The plan for one container, as commands typed in one shell on the node: no checks, no journal.
# The edited files lie in /root/plan, where the benchmark put them; $1 is the container.
set -e
cd /root/plan
while read -r name mode path; do
    install -D -m "$mode" "$name" "$path"
done <list
systemctl reload apparmor
sed -i '/^features: /d; /^lxc\.apparmor\.profile: /d' "/etc/pve/lxc/$1.conf"
printf '%s\n' 'features: nesting=1,keyctl=1,fuse=1' 'lxc.apparmor.profile: lxc-phoenix-v2' \
    >>"/etc/pve/lxc/$1.conf"
pct shutdown "$1" --timeout 60 --forceStop 1
pct start "$1"
inside() { pct exec "$1" -- "${@:2}" </dev/null; }
until inside "$1" systemctl is-system-running --wait | grep -E 'running|degraded'; do sleep 0.5; done
until inside "$1" grep -E '^[a-z0-9]+[[:space:]]00000000' /proc/net/route; do sleep 0.5; done
inside "$1" apt-get update -q
inside "$1" env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends \
    fuse-overlayfs
inside "$1" mkdir -p /etc/docker
pct push "$1" daemon.json /etc/docker/daemon.json
# Under the new profile it could not start on its former driver, too often for systemd.
inside "$1" systemctl reset-failed docker
inside "$1" systemctl restart docker
