
docker images -a --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' | sort
docker ps -a --no-trunc --format '{{.ID}} {{.Names}}' | sort
docker ps --format 'runs: {{.Names}}'
docker volume ls -q
for name in stopped running former; do
    echo "$name: diff $(docker diff $name | LC_ALL=C sort | sha256sum | cut -c1-12)"
    echo "$name: tree $(docker export $name | sha256sum)"
done
for name in $(docker images -q --no-trunc | sort -u); do
    docker history --no-trunc --format '{{.ID}} {{.Size}} {{.CreatedBy}}' $name
done
docker save "$1" | tar -xf - --to-command='echo "$TAR_FILENAME $(sha256sum)"' | sort
docker exec running perl -e "$2" list
find /var/lib/docker/volumes/kept -printf '%P %s %t\n' | sort
