# What the read-only scenarios ask, as one script on the node with one pct exec.
set -e
profile=lxc-phoenix-v2 repository=/usr/local/phoenix_hypervisor
cat /etc/apparmor.d/tunables/nesting /etc/apparmor.d/$profile
sha256sum /etc/apparmor.d/$profile $repository/etc/apparmor/$profile
grep "^$profile " /sys/kernel/security/apparmor/profiles
cat /sys/kernel/security/apparmor/policy/profiles/$profile.*/raw_sha256
apparmor_parser -S -K /etc/apparmor.d/$profile | sha256sum
apparmor_parser -N -K /etc/apparmor.d/$profile
systemctl is-enabled apparmor
stat -c %Y /etc/apparmor.d/tunables/nesting
journalctl -u apparmor -b -q --no-pager
cat /etc/pve/lxc/950.conf /var/lib/lxc/950/config
pid=$(lxc-info -P /var/lib/lxc -n 950 -p -H)
cat "/proc/$pid/attr/current" "/proc/$pid/uid_map" "/proc/$pid/gid_map"
bash -n $repository/bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh
bash -n $repository/bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh
dpkg-query -W fuse-overlayfs 2>/dev/null || :
pct exec 950 -- sh -c '
systemctl is-system-running --wait
systemctl list-units --state=failed --full --plain --no-legend
dpkg-query -W fuse-overlayfs docker.io
cat /etc/docker/daemon.json
systemctl is-active docker; systemctl is-enabled docker
docker info -f "{{.Driver}}"
exec 3<>/dev/fuse && stat -c %t:%T /dev/fuse
perl -e "exit(syscall(250, 0, -1, 1) < 0)"
:'
