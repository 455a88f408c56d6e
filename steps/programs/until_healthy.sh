# Waits until the Docker container $1 runs and is healthy, and prints its last state.

for _ in $(seq 60); do
    state=$(docker inspect -f '{{.State.Status}} {{.State.Health.Status}}' "$1" 2>&1)
    case $state in "running healthy") break ;; esac
    sleep 1
done
echo "$state"
