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

