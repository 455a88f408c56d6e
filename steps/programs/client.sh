# Runs a client: $1 are the words that start a Docker container, $2 is reach.pl, $3 the name of the server.
# shellcheck disable=SC2086 # words

guest=$(perl -e "$2" outside)
[ -z "$guest" ] || echo "$guest"
outside=$(echo "$guest" | cut -d ' ' -f 2)
exec $1 perl -e "$2" client "$3" 8080 $outside
