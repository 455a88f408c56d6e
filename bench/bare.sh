# What the gate asks, typed in one shell on the node: no checks, no evidence, no report. Without
# what the compared run leaves out, too: the prerequisites' backups and the rollback's rehearsals.
# The edited files lie in /root/plan, where the benchmark put them.
set -e
repository=/usr/local/phoenix_hypervisor
cp /root/plan/setup.sh $repository/bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh
cp /root/plan/install.sh $repository/bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh
cp /root/plan/containers.json $repository/etc/phoenix_lxc_configs.json
cp /root/plan/profile $repository/etc/apparmor/lxc-phoenix-v2
cp /root/plan/profile /etc/apparmor.d/lxc-phoenix-v2
echo '@{apparmor_nesting_profiles} = lxc-phoenix-v2' >/etc/apparmor.d/tunables/nesting
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
