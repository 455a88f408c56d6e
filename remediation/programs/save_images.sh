# Carries Docker's images over to a storage driver that stores layers in another way: "docker save"
# writes each one to an archive below Docker's directory, "docker load" reads it on the new driver.
# Containers and the build cache are not carried over.
# Arguments: "look", "save" or "load", Docker's directory, and the new driver. Docker must run.
# "look" changes nothing. It prints how many images there are, 0, and their bytes, or "no" and the
# reason. "save" and "load" do all or fail; move_aside.sh removes what they leave then.
# Sources: moby daemon/containerd/image_inspect.go; docker/cli cli/command/image/list.go and save.go.

set -eu
root=$2 driver=$3 kept=$2/docker-lxc-gate
# Docker 29 shows images without a name only if they are asked for.
list() {
    docker images --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' "$@"
}
[ "$1" = load ] || {
    named=$(list)
    unnamed=$(list -f dangling=true)
}
case $1 in
look)
    images=0 bytes=0 largest=0
    for id in $(printf '%s\n' "$named" "$unnamed" | cut -d' ' -f1 | sort -u); do
        size=$(docker image inspect -f '{{.Size}}' "$id")
        images=$((images + 1)) bytes=$((bytes + size))
        [ "$size" -le "$largest" ] || largest=$size
    done
    # Of containerd's store it is the compressed size.
    times=1
    status=$(docker info -f '{{.DriverStatus}}')
    case $status in *io.containerd.snapshotter*) times=4 ;; esac
    # All archives, the loaded layers, and a copy of one image that Docker makes of each meanwhile.
    needed=$((times * (2 * bytes + largest) + 104857600)) free=$(($(stat -f -c '%a*%S' "$root")))
    if [ "$images" -gt 0 ] && [ "$free" -lt "$needed" ]; then
        echo "no docker save and docker load need $((needed >> 20)) MiB in $root, and $((free >> 20)) MiB are free"
    else
        echo "$images 0 $bytes"
    fi
    ;;
save)
    mkdir -m 700 "$kept" "$kept/new"
    # Each image's id with each of its names, or with nothing.
    printf '%s\n' "$named" "$unnamed" | sed '/^$/d; s/ .*<none>.*/ /' | sort -u >"$kept/new/names"
    for id in $(cut -d' ' -f1 "$kept/new/names" | uniq); do
        names=$(sed -n "s/^$id //p" "$kept/new/names")
        # shellcheck disable=SC2086 # each name is a word
        docker save -o "$kept/new/$id.tar" ${names:-"$id"}
    done
    ;;
load)
    # What its unit says counts more than its settings.
    [ "$(docker info -f '{{.Driver}}')" = "$driver" ] || {
        echo "Docker did not start on $driver" >&2
        exit 1
    }
    for id in $(cut -d' ' -f1 "$kept/new/names" | uniq); do
        docker load -q -i "$kept/new/$id.tar" || {
            echo "image $id could not be loaded on $driver" >&2
            exit 1
        }
        rm "$kept/new/$id.tar"
    done
    cut -d' ' -f2 "$kept/new/names" | xargs -r docker image inspect -f 'loaded {{.Id}}'
    rm -r "$kept"
    ;;
esac
