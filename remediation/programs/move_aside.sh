# Moves what a storage driver made below Docker's directory aside, and puts back what apply kept there.
# A run that was cut off at any command is brought to its end by the next one.
# Arguments: Docker's directory, the directory aside, and what to move, relative to the first.

set -e
root=$1 aside=$2 kept=docker-lxc-gate
shift 2
rm -rf "${root:?}/$kept/new" # a full disk needs the space
stopped() {
    systemctl is-active -q docker || return 0
    echo "Docker was started during the rollback: find out what starts it, and stop that" >&2
    exit 1
}
move() {
    mkdir -p "$aside/image"
    mv -T "$root/$1" "$aside/$1"
}
for place; do
    # Files of image layers that apply linked would keep a second name, and cron refuses such files.
    # Layers that were made after apply have other ids.
    for layer in "$root"/image/*/layerdb/*/*/cache-id; do
        [ -f "$layer" ] || continue
        former=${layer#"$root/image/"} former=${former%%/*} id=$(cat "$layer")
        case $id in '' | */*) continue ;; esac
        if [ -d "$root/$kept/former" ] && [ "$former" != "$place" ] && [ -d "$root/$former/$id/diff" ]; then
            rm -rf "${root:?}/$place/$id/diff"
        fi
    done
done
stopped
for place; do
    [ "$place" = "$kept" ] || move "$place"
done
# A Docker that another unit started by now has loaded no container, and would not load them later.
stopped
case " $* " in *" $kept "*) ;; *) exit 0 ;; esac
for part in containers buildkit; do
    [ -e "$root/$kept/former/$part" ] || continue
    [ ! -e "$root/$part" ] || move "$part"
    mv -T "$root/$kept/former/$part" "$root/$part"
done
rm -rf "${root:?}/$kept"
