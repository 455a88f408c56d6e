# Prints the messages of Docker's present run, or of its last one: for each pattern,
# the last ones that match.

id=$(systemctl show -p InvocationID --value docker) || exit 1
[ -n "$id" ] || exit 0
said=$(journalctl -q --no-pager -b -o cat -n 5000 "_SYSTEMD_INVOCATION_ID=$id" | cut -c 1-2000)
for pattern; do printf '%s\n' "$said" | LC_ALL=C grep -aE -- "$pattern" | tail -n 20; done
:
