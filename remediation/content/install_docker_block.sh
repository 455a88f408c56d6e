# --- Storage driver ---

# Before Docker itself, so that a new Docker never starts on another driver.
DAEMON_JSON=/etc/docker/daemon.json

if ! installed fuse-overlayfs; then
    echo "Installing fuse-overlayfs..."
    inside apt-get update
    inside apt-get install -y fuse-overlayfs
fi

command -v jq >/dev/null || fail "jq is needed on this host"
settings=""
mode=644
if inside test -e "$DAEMON_JSON"; then
    settings="$(inside cat "$DAEMON_JSON" 2>/dev/null)" || fail "cannot read $DAEMON_JSON"
    mode="$(inside stat -c %a "$DAEMON_JSON" 2>/dev/null)" || fail "cannot read $DAEMON_JSON"
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
    arrived="$(inside sha256sum "$DAEMON_JSON.new" 2>/dev/null)" || true
    [[ ${arrived%% *} == "${sum%% *}" ]] || fail "could not write $DAEMON_JSON in container $CTID"
    inside mv "$DAEMON_JSON.new" "$DAEMON_JSON"
fi

# Asked of Docker, not remembered: a run that ended before the restart is made up for.
driver() { inside docker info --format '{{.Driver}}' 2>/dev/null; }
if inside systemctl is-active --quiet docker && [[ $(driver) != fuse-overlayfs ]]; then
    echo "Restarting Docker service..."
    inside systemctl restart docker
    [[ $(driver) == fuse-overlayfs ]] || fail "Docker in container $CTID uses another driver still"
fi

