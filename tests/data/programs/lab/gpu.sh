
keep
mkdir -p /dev/dri
mknod -m 660 /dev/dri/renderD190 c 226 190
entry='/dev/dri/renderD190 dev/dri/renderD190 none bind,create=file 0 0'
echo "lxc.mount.entry: $entry" >>"$conf"
restart
