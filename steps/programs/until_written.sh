# Waits until the Docker container $1 says that it has written; else prints its last words.

for _ in $(seq 60); do
    docker logs "$1" 2>/dev/null | grep -qx 'done' && exit
    sleep 0.5
done
docker logs --tail 3 "$1" >&2
exit 1
