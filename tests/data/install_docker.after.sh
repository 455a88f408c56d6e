#!/bin/bash
#
# phoenix_hypervisor_feature_install_docker.sh <CTID>
#
# Feature "docker": Docker from Debian's own packages, inside container <CTID>.
# Runs on the hypervisor and enters the container with pct exec.

set -e

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

# --- Storage driver ---

# Before Docker itself, so that a new Docker never starts on another driver.
DAEMON_JSON=/etc/docker/daemon.json

if ! installed fuse-overlayfs; then
    echo "Installing fuse-overlayfs..."
    inside apt-get update
    inside apt-get install -y fuse-overlayfs
fi

# What the container says: two minutes and 1 MiB of it at most, whatever is root in there.
answer() {
    timeout -k 5 120 pct exec "$CTID" --keep-env 0 -- env HOME=/root "$@" </dev/null 2>/dev/null |
        head -c 1048577
    return "${PIPESTATUS[0]}"
}

command -v jq >/dev/null || fail "jq is needed on this host"
settings=""
mode=644
if inside test -e "$DAEMON_JSON"; then
    settings="$(answer cat "$DAEMON_JSON")" ||
        fail "cannot read $DAEMON_JSON in container $CTID, or it is larger than 1 MiB"
    mode="$(answer stat -c %a "$DAEMON_JSON")" || fail "cannot read $DAEMON_JSON"
    [[ $mode =~ ^[0-7]{3,4}$ ]] || fail "cannot read the mode of $DAEMON_JSON in container $CTID"
fi
[[ -n $settings ]] || settings='{}'
if ! jq -e '."storage-driver" == "fuse-overlayfs"' <<<"$settings" >/dev/null 2>&1; then
    echo "Configuring Docker to use fuse-overlayfs..."
    staged="$(mktemp)"
    trap 'rm -f "$staged"; inside rm -f "$DAEMON_JSON.new" || true' EXIT
    jq '."storage-driver" = "fuse-overlayfs"' <<<"$settings" >"$staged" ||
        fail "$DAEMON_JSON in container $CTID is not a JSON object; it is left as it is"
    inside mkdir -p /etc/docker
    pct push "$CTID" "$staged" "$DAEMON_JSON.new" --perms "$mode" </dev/null
    # pct push exits 0 when it failed, too: compare what arrived.
    sum="$(sha256sum <"$staged")"
    arrived="$(answer sha256sum "$DAEMON_JSON.new")" || true
    [[ ${arrived%% *} == "${sum%% *}" ]] || fail "could not write $DAEMON_JSON in container $CTID"
    inside mv "$DAEMON_JSON.new" "$DAEMON_JSON"
fi

# Asked of Docker, not remembered: a run that ended before the restart is made up for.
driver() { answer docker info --format '{{.Driver}}'; }
if inside systemctl is-active --quiet docker && [[ $(driver) != fuse-overlayfs ]]; then
    echo "Restarting Docker service..."
    inside systemctl restart docker
    [[ $(driver) == fuse-overlayfs ]] || fail "Docker in container $CTID uses another driver still"
fi

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
