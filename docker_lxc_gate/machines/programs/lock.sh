# Holds a lock while the input lasts, and then until the run's last commands have ended. Exits with 75
# if it is held already. The inner shell adds its own process id to the owner, and reads the input.
# shellcheck disable=SC2016

umask 077
exec 9<>"$1" || exit 1
flock -w 3 -E 75 9 || { code=$?; cat "$1" >&2; exit $code; }
sh -c '
    printf "%s,\"reader\":%d}\n" "${2%?}" $$ >"$1"
    echo held
    exec cat >/dev/null
' read "$1" "$2"
printf '%s\n' "$2" >"$1"
# Another user's process of that name is not ours, nor is a program of root's that he started.
timeout=$(command -v timeout)
runs() {
    for pid in $(pgrep -u "$(id -u)" -f "^timeout .* $1 "); do
        [ "/proc/$pid/exe" -ef "$timeout" ] && return
    done
    return 1
}
while runs "$3"; do sleep 0.2; done
: >"$1"
