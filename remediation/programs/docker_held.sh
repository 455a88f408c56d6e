# Says so if there is an image, a container, a volume, a plugin, a swarm, or what Docker did not
# make: each is a directory or a file here.
# Arguments: the directories of Docker and containerd.

for root; do
    test -d "$root" || continue
    for each in "$root"/containers/* "$root"/volumes/*/ "$root"/image/*/imagedb/content/sha256/* \
        "$root"/io.containerd.content.v1.content/blobs/*/* "$root"/plugins/*/config.json \
        "$root"/swarm/*
    do test ! -e "$each" || { echo "$each"; exit; }
    done
    # What Docker and containerd make in their directories: anything else is somebody's.
    each=$(
        find -H "$root" -mindepth 1 -maxdepth 1 ! -empty \
            ! -name buildkit ! -name containers ! -name engine-id ! -name fuse-overlayfs \
            ! -name image ! -name network ! -name overlay2 ! -name plugins ! -name runtimes \
            ! -name swarm ! -name tmp ! -name tmpmounts ! -name trust ! -name vfs ! -name volumes \
            ! -name nuke-graph-directory.sh ! -name containerd ! -name docker-lxc-gate \
            ! -name 'io.containerd.*' ! -name lost+found ! -name opt ! -name rootfs
    ) || exit
    test -z "$each" || { echo "$each"; exit; }
    # In these Docker and containerd have no other files; an unfinished download may be left in tmp.
    for each in tmp opt network; do
        [ -d "$root/$each" ] || continue
        ! find "$root/$each" ! -type d ! -path "$root/network/files/local-kv.db" \
            ! -path "$root/tmp/GetImageBlob*" | grep -m 1 . || exit 0
    done
done
