# Runs a client: $1 are the words that start a Docker container, $2 is reach.pl, $3 the name of the server. $4
# are the words for one on Docker's default network, which Docker need not have.
# shellcheck disable=SC2086 # words

guest=$(perl -e "$2" outside)
[ -z "$guest" ] || echo "$guest"
outside=$(echo "$guest" | cut -d ' ' -f 2)
$1 perl -e "$2" client "$3" 8080 $outside || exit
[ -n "$outside" ] || exit 0
networks=$(docker network ls --format '{{.Name}}') || exit
! echo "$networks" | grep -qx bridge || exec $4 perl -e "$2" bridge $outside
