# Ends if Docker does not run. `asked` runs docker and gives up soon, so that a
# hanging Docker does not delay all other reads.

systemctl is-active -q docker || exit 3
asked() {
    timeout -k 5 20 docker "$@" && return
    [ $? -lt 124 ] || { echo "Docker runs, but did not answer within 20 s" >&2; exit 5; }
    exit 1
}
