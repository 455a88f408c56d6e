# Prints each file of the volume $1 with its owner, and how often the word $2 is in it.

place=$(docker volume inspect -f '{{.Mountpoint}}' "$1") && cd "$place" &&
    stat -c '%n %u:%g' . first written && grep -c "^$2\$" written
