
set -e
run="docker run --pull never --mount source=kept,target=/kept"
docker run --pull never --network none --name changer "$1" perl -e "$3" change
docker commit changer "$2"
docker rm changer
docker network create theirs
$run --name stopped "$2" perl -e "$4" stopped
$run -d --name running --network theirs "$2" perl -e "$4" running yes
for _ in $(seq 300); do docker logs running | grep done && exit; sleep 1; done
exit 1
