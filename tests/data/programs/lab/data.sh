
keep
mkdir /srv/data
chown 1000:1000 /srv/data
echo 'lxc.mount.entry: /srv/data data none bind,create=dir 0 0' >>"$conf"
restart
inside docker create -v /data:/data hello-world
