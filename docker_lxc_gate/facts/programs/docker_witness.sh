# Lists Docker's objects and processes. A stopped Docker is not queried: its socket would start it.
# shellcheck disable=SC2016

most=400000  # bytes of a listing: some thousands of lines
# If Docker restarts a container again and again, its start time is left out.
state='{{.Name}} {{if .RestartCount}}restarted by Docker{{else}}'
state=$state'{{.State.Status}} since {{.State.StartedAt}}{{end}}'
part() {
    printf '== %s\n' "$1"
    shift
    { timeout 60 "$@" </dev/null; echo "ended with $?"; } | head -c "$most"
    echo
}
part unit systemctl show docker.service containerd.service docker.socket \
    -p Id,ActiveState,MainPID,ExecMainStartTimestampMonotonic
systemctl is-active -q docker || exit 0
part container docker ps -a --no-trunc --format '{{.ID}} {{.Names}}'
part image docker images -a --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}'
part volume docker volume ls --format '{{.Name}} {{.Driver}}'
part network docker network ls --no-trunc --format '{{.ID}} {{.Name}}'
part state sh -c 'docker ps -aq --no-trunc | xargs -r docker inspect -f "$1"' state "$state"
# Of a container's settings, which may hold secrets, a hash.
settings='{{.Name}} {{json .HostConfig}} {{json .Config}} {{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}'
part settings sh -c 'ids=$(docker ps -aq --no-trunc) || exit
    all=$(test -z "$ids" || docker inspect -f "$1" $ids) || exit
    test -z "$all" || printf "%s\n" "$all" | while IFS=" " read -r name rest; do
        printf "%s %.16s\n" "$name" "$(printf %s "$rest" | sha256sum)"
    done' settings "$settings"
