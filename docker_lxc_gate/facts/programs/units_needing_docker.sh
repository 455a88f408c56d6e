# Prints the active units that systemd stops when Docker is stopped: those that need docker.service or
# docker.socket, and those that need them. systemd restarts them with Docker, but to stop and start Docker
# leaves them stopped.
# Source: systemd.unit(5).

set -- docker.service docker.socket
all=" $* "
while [ $# -gt 0 ]; do
    for unit in $(systemctl show -p RequiredBy -p RequisiteOf -p BoundBy -p ConsistsOf --value -- "$1"); do
        case $all in *" $unit "*) continue ;; esac
        all="$all$unit "
        set -- "$@" "$unit"
        ! systemctl is-active -q -- "$unit" || printf '%s\n' "$unit"
    done
    shift
done
