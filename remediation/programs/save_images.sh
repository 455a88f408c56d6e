# Carries Docker's images over to a storage driver that stores layers in another way: "docker save"
# writes each one to an archive below Docker's directory, "docker load" reads it on the new driver.
# Containers and the build cache are not carried over.
# Arguments: "look", "save" or "load", and Docker's directory. Docker must run.
# "look" changes nothing. It prints how many images there are, 0, and their bytes, or "no" and the
# reason. "save" and "load" do all or fail; move_aside.sh removes what they leave then.

set -eu
root=$2 kept=$2/docker-lxc-gate
# Each image's id with each of its names, or with nothing.
named() {
    printf '%s\n' "$all" | sed 's/ .*<none>.*/ /' | sort -u
}
[ "$1" = load ] || all=$(docker images --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}')
case $1 in
look)
    images=0 bytes=0 largest=0
    for id in $(named | cut -d' ' -f1 | uniq); do
        size=$(docker image inspect -f '{{.Size}}' "$id")
        images=$((images + 1)) bytes=$((bytes + size))
        [ "$size" -le "$largest" ] || largest=$size
    done
    # All archives, the loaded layers, and a copy of one image that Docker makes of each meanwhile.
    needed=$((2 * bytes + largest + 104857600)) free=$(($(stat -f -c '%a*%S' "$root")))
    if [ "$images" -gt 0 ] && [ "$free" -lt "$needed" ]; then
        echo "no docker save and docker load need $((needed >> 20)) MiB in $root, and $((free >> 20)) MiB are free"
    else
        echo "$images 0 $bytes"
    fi
    ;;
save)
    mkdir -p "$kept"
    mkdir -m 700 "$kept/new"
    named >"$kept/new/names"
    for id in $(cut -d' ' -f1 "$kept/new/names" | uniq); do
        names=$(sed -n "s/^$id //p" "$kept/new/names")
        # shellcheck disable=SC2086 # each name is a word
        docker save -o "$kept/new/$id.tar" ${names:-"$id"}
    done
    ;;
load)
    for archive in "$kept"/new/*.tar; do
        docker load -q -i "$archive"
        rm "$archive"
    done
    cut -d' ' -f2 "$kept/new/names" | xargs -r docker image inspect -f 'loaded {{.Id}}'
    rm -r "$kept"
    ;;
esac
