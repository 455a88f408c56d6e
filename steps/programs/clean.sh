# Removes the containers $1, the network $2, the volume $3 and the images $4, and prints the names of
# what could not be removed.
# shellcheck disable=SC2086 # words

{ docker rm -f -v $1; docker network rm $2; docker volume rm $3; docker image rm -f $4; } >&2
for each in $1 $2 $3 $4; do docker inspect -f $each $each 2>/dev/null; done
true
