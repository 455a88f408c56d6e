# Installs fuse-overlayfs in the container, and gives Docker the settings in /root/daemon.json.
set -e
inside() { pct exec 950 -- "$@" </dev/null; }
inside apt-get update -q
inside env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends fuse-overlayfs
inside mkdir -p /etc/docker
pct push 950 /root/daemon.json /etc/docker/daemon.json
# Under the new profile it could not start on its former driver, too often for systemd.
inside systemctl reset-failed docker
inside systemctl restart docker
