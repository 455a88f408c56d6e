# Prints the switches of the network that Docker needs, and their values.

for name in ip_forward conf/docker0/route_localnet; do
    [ ! -e "/proc/sys/net/ipv4/$name" ] || echo "$name $(cat "/proc/sys/net/ipv4/$name")"
done
