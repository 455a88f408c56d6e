# Prints the last messages of Docker's present run, or of its last one: less than the 1 MiB at which
# a look is stopped.

id=$(systemctl show -p InvocationID --value docker) || exit 1
[ -n "$id" ] || exit 0
journalctl -q --no-pager -b -o cat -n 5000 "_SYSTEMD_INVOCATION_ID=$id" | cut -c 1-2000 |
    tail -c 1000000
