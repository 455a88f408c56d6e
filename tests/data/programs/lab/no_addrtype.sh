
inside systemctl stop docker.socket docker
inside iptables -t nat -F
for _ in $(seq 20); do
    [ -d /sys/module/xt_addrtype ] || break
    rmmod xt_addrtype 2>/dev/null || sleep 1
done
[ ! -d /sys/module/xt_addrtype ]
echo 'install xt_addrtype /bin/false' >/etc/modprobe.d/no-addrtype.conf
inside systemctl start docker || true
