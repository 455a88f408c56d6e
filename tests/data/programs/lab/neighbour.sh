
create 952 neighbour --features nesting=1
echo "lxc.apparmor.profile: $profile" >>/etc/pve/lxc/952.conf
pct start 952
(ctid=952; settled)
systemd-run -q --unit=denied pct exec 952 --keep-env 0 --     sh -c 'while sleep 0.5; do perl -e "socket(S, 38, 5, 0)"; done'
