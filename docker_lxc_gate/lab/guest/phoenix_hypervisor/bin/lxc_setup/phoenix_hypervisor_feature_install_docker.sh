#!/bin/bash
#
# phoenix_hypervisor_feature_install_docker.sh <CTID>
#
# Feature "docker": Docker from Debian's own packages, inside container <CTID>.
# Runs on the hypervisor and enters the container with pct exec.

CTID="${1:-}"

fail() {
    echo "error: $*" >&2
    exit 1
}

# Runs a command in the container. There is no shell, nothing to read, and no question asked.
inside() {
    pct exec "$CTID" --keep-env 0 -- \
        timeout -k 10 1800 env HOME=/root DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}

# Is a package installed in the container (and not merely known, or removed)?
installed() {
    local status
    # shellcheck disable=SC2016 # dpkg's field, not a variable of ours
    status="$(inside dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null)" || return 1
    [[ $status == ?i* ]]
}

# --- Checks ---

if [[ -z $CTID ]]; then
    echo "usage: ${0##*/} <CTID>" >&2
    exit 2
fi
inside true || fail "cannot run commands in container $CTID"

# --- Docker ---

# Recommended packages are left out, so what is needed is named. Not apparmor: under a profile
# of the host's, Docker may not load profiles of its own, and with apparmor_parser it would try.
if installed docker.io && inside test -x /usr/bin/docker; then
    echo "Docker is already installed in container $CTID."
else
    echo "Installing Docker in container $CTID..."
    inside apt-get update || fail "apt-get update failed in container $CTID"
    packages=(docker.io ca-certificates iptables)
    if inside apt-cache show docker-cli >/dev/null 2>&1; then
        packages+=(docker-cli)  # since Debian 13 the client is a package of its own
    fi
    inside apt-get install -y --no-install-recommends "${packages[@]}" ||
        fail "Docker could not be installed in container $CTID"
fi

# --- Service ---

if ! inside systemctl is-enabled --quiet docker; then
    inside systemctl enable docker || fail "Docker could not be enabled in container $CTID"
fi
if ! inside systemctl is-active --quiet docker; then
    inside systemctl start docker || fail "Docker does not start in container $CTID"
fi
echo "Docker is running in container $CTID."
