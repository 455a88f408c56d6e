# Reaches, with reach.pl ($2), the port that the Docker container $1 is published at. The
# container's own address is that of its route to the outside: no packet is sent to find it.

port=$(docker port "$1" 8080 | sed -n '1s/.*://p')
own=$(perl -e '
    socket my $peer, 2, 2, 0 or exit;
    connect $peer, pack "S n C4 x8", 2, 53, 192, 0, 2, 1 or exit;
    print join ".", unpack "x4 C4", getsockname $peer;
')
[ -n "$own" ] || { echo "the container has no IPv4 route to the outside"; exit; }
exec perl -e "$2" client "$own" "$port"
