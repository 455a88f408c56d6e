# Makes a container as the popular helper scripts make one, on a node without phoenix: keyrings and
# nesting, the profile that LXC generates, and Docker on its default driver.
# shellcheck disable=SC2154 # prelude.bash and fault.py set the variables

rm -r "$repository" "$(command -v phoenix)"
pct create "$ctid" local:vztmpl/debian-trixie-docker_amd64.tar.zst --hostname helper \
    --rootfs local:4 --memory 2048 --unprivileged 1 --features keyctl=1,nesting=1 \
    --net0 name=eth0,bridge=lxcbr0,ip=dhcp >/dev/null
pct start "$ctid"
settled
inside docker pull -q hello-world >/dev/null
