# Runs a client: $1 are the words that start a Docker container, $2 the program that finds out
# who answers this machine, $3 the client's program, $4 the name of the server.
# shellcheck disable=SC2086 # words

outside=$(perl -e "$2")
for each in $outside; do echo "guest $each answered"; done
exec $1 perl -e "$3" "$4" 8080 $outside
