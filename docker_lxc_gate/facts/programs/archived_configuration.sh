# Prints the container's configuration, which stands at the beginning of the archive $1.

LC_ALL=C nice -n 19 tar --extract --to-stdout --occurrence=1 --force-local --file="$1" -- \
    ./etc/vzdump/pct.conf 2>/dev/null | head -c 100000
