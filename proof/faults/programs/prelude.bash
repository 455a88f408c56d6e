# Functions and variables for injections, which run in bash on the node. `pct exec` gets no input,
# because it would read the rest of the script.
# shellcheck disable=SC2034,SC2154 # injections use them; proof/faults/fault.py sets some

ctid=$1 conf=/etc/pve/lxc/$1.conf dump=/var/lib/vz/dump
# A replaced program leaves this file on its machine when it acts. A restart of the container keeps it.
mark=/var/tmp/docker-lxc-gate-fault
profiles="$file $repository/etc/apparmor/$profile"
setup=$repository/bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh
install=$repository/bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh

inside() { pct exec "$ctid" --keep-env 0 -- "$@" </dev/null; }

# Writes a file of the container, from standard input.
into() {
    cat >/run/docker-lxc-gate.new
    pct push "$ctid" /run/docker-lxc-gate.new "$1" --perms "${2:-644}"
    rm /run/docker-lxc-gate.new
}

# Creates a container with an id, a name, and more options of pct.
create() {
    pct create "$1" local:vztmpl/debian-trixie-standard_amd64.tar.zst --hostname "$2" \
        --rootfs local:1 --memory 256 --unprivileged 1 "${@:3}" >/dev/null
}

# Writes a unit of the container, from standard input, and starts it.
unit() {
    into "/etc/systemd/system/$1"
    inside systemctl daemon-reload
    inside systemctl start "$1" || true # some of them fail on purpose
}

# Stops and removes a unit of the container.
no_unit() {
    inside systemctl disable -q --now "$1" || true # some are not enabled, and a mount cannot be
    inside rm -f "/etc/systemd/system/$1" /run/denied
    inside systemctl daemon-reload
    inside systemctl reset-failed "$1" || true # it may be unknown by now
}

# Saves the container's configuration, and restores it.
keep() { cat "$conf" >/run/docker-lxc-gate.conf; }
back() {
    test -s /run/docker-lxc-gate.conf
    cat /run/docker-lxc-gate.conf >"$conf"
    rm /run/docker-lxc-gate.conf
}

# Saves files of the node, for `changed`.
save() { tar -cPf /run/docker-lxc-gate.saved "$@"; }
# shellcheck disable=SC2086 # two files
save_profiles() { save $profiles; }

# Ends an injection: fails if what `keep` or `save` has saved is as before.
changed() {
    if cmp -s /run/docker-lxc-gate.conf "$conf"; then
        echo "$conf is as before" >&2
        return 1
    fi
    if [ -e /run/docker-lxc-gate.saved ] && tar -dPf /run/docker-lxc-gate.saved >/dev/null 2>&1; then
        echo "as before: $(tar -tPf /run/docker-lxc-gate.saved)" >&2
        return 1
    fi
}

# Saves a file of the container, and restores it.
save_inside() { inside cp -p "$1" "$1.saved"; }
put_back_inside() { inside mv "$1.saved" "$1"; }

settled() {
    for _ in $(seq 90); do
        case $(inside systemctl is-system-running --wait 2>/dev/null) in
            running | degraded) return 0 ;;
        esac
        sleep 1
    done
    echo "container $ctid does not come up" >&2
    return 1
}
restart() {
    pct stop "$ctid"
    pct start "$ctid"
    settled
}

load() { apparmor_parser -r -K "$file"; }

# Adds a rule to the profile in file, repository and kernel: all copies stay equal.
rule() {
    save_profiles
    # shellcheck disable=SC2086 # two files
    sed -i "s|^}\$|  $1\n}|" $profiles
    load
}

# Allows everything under the profile, in all copies.
allow_everything() {
    save_profiles
    # shellcheck disable=SC2086 # two files
    sed -i -e '/^  audit deny/d' \
        -e 's|^  file,$|&\n  mount,\n  network,\n  change_profile -> **,|' $profiles
    load
}

# Allows /sys/firmware under the profile, in all copies, and nothing else.
allow_firmware() {
    save_profiles
    # shellcheck disable=SC2086 # two files
    sed -i '\|^  audit deny .*sys/firmware/|d' $profiles
    load
}

# Loads a profile lxc-own with the rules that LXC generated for the container, and assigns it.
# Arguments: more options of apparmor_parser.
own_profile() {
    sed -E 's/^profile "?lxc-[^ ]*/profile lxc-own/' "/var/lib/lxc/$ctid/apparmor/lxc-$ctid"_* \
        >/etc/apparmor.d/lxc-own
    apparmor_parser -r -K "$@" /etc/apparmor.d/lxc-own
    echo 'lxc.apparmor.profile: lxc-own' >>"$conf"
}

# Prints a program that runs the shell $3 before the program $1, which is "$real" in it, if the
# arguments match $2, with a blank before and after them. It then leaves the mark.
wrapper() {
    # shellcheck disable=SC2016 # the program expands them
    printf '#!/bin/sh\nreal=%s\ncase " $* " in\n%s)\n: >%s\n%s\n;;\nesac\nexec "$real" "$@"\n' \
        "$1" "$2" "$mark" "$3"
}

# Puts such a wrapper in place of the node's program $1: the shell $3, if the arguments match $2.
wrap() {
    mv "$1" "$1.real"
    wrapper "$1.real" "$2" "$3" >"$1"
    chmod 755 "$1"
}

restart_docker() { inside systemctl restart docker; }
settings_back() {
    put_back_inside "$settings"
    inside systemctl reset-failed docker
    restart_docker
}

# Docker stores its layers with vfs; then its settings file names fuse-overlayfs again.
vfs() {
    save_inside "$settings"
    inside sed -i s/fuse-overlayfs/vfs/ "$settings"
    restart_docker
}
vfs_unseen() {
    vfs
    inside cp -p "$settings.saved" "$settings"
}
no_vfs() {
    settings_back
    inside rm -r /var/lib/docker/vfs /var/lib/docker/image/vfs
}

# Puts such a wrapper in place of Docker's client: the shell $2, if the arguments match $1.
client() {
    inside mv /usr/bin/docker /usr/bin/docker.real
    wrapper /usr/bin/docker.real "$1" "$2" | into /usr/bin/docker 755
}
put_back_client() {
    inside mv /usr/bin/docker.real /usr/bin/docker
    inside rm -f "$mark"
}

# Whether a replaced program left its mark, on the node or in the container.
marked() { [ -e "$mark" ] || inside test -e "$mark"; }

# Replaces perl by one that reports every attempt as refused, and attempts nothing.
lying_perl() {
    printf '#!/bin/sh\nprintf "%%s 13 0\\n" firmware mount network profile\n' |
        into /usr/bin/perl 755
}

# Moves PID 1 into a new cgroup, named like another container's; Docker stays in the old one.
hide_pid_1() {
    inside mkdir -p /sys/fs/cgroup/lxc/951
    inside sh -c 'echo 1 >/sys/fs/cgroup/lxc/951/cgroup.procs'
}

# Adds a unit to the container that AppArmor denies a socket at each boot; it then leaves a marker.
# $1: other perl.
denied_at_boot() {
    printf '%s\n' '[Service]' Type=oneshot \
        "ExecStart=/usr/bin/perl -e \"${1:-socket(S, 38, 5, 0)}\"" \
        'ExecStartPost=/usr/bin/touch /run/denied' '[Install]' WantedBy=multi-user.target |
        into /etc/systemd/system/denied.service
    inside systemctl enable -q denied.service
}

# Runs the shell $1 when the container stops, and $2 after its denial at the next boot, and leaves the
# mark. $3: other perl than the denied one.
meanwhile() {
    denied_at_boot "${3-}"
    cat >/root/trick <<END
init() { lxc-info -n $ctid -p -H 2>/dev/null; }
first=\$(init)
while [ -d "/proc/\$first" ]; do sleep 0.1; done
$1
until [ -e "/proc/\$(init)/root/run/denied" ]; do sleep 0.2; done
sleep 1
$2
: >$mark
END
    systemd-run -q --unit=trick bash /root/trick
}
