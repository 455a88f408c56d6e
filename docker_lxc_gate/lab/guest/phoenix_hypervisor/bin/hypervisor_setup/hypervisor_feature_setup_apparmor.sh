#!/bin/bash
#
# hypervisor_feature_setup_apparmor.sh
#
# Installs the AppArmor profiles of this repository on the host and reloads AppArmor.
# Reloading replaces profiles in place: running containers stay confined.

set -euo pipefail

PROFILES="$(cd "$(dirname "${BASH_SOURCE[0]}")/../../etc/apparmor" && pwd)"
APPARMOR_D="${PHOENIX_APPARMOR_D:-/etc/apparmor.d}"
APPARMOR_FS="${PHOENIX_APPARMOR_FS:-/sys/kernel/security/apparmor}"

for profile in "$PROFILES"/lxc-*; do
    name="$(basename "$profile")"
    if cmp -s "$profile" "$APPARMOR_D/$name"; then
        continue
    fi
    echo "Installing AppArmor profile $name..."
    install -m 644 "$profile" "$APPARMOR_D/$name"
done

echo 'Reloading AppArmor...'
systemctl reload apparmor

# The reload may have stopped at somebody else's profile before it came to ours.
for profile in "$PROFILES"/lxc-*; do
    name="$(basename "$profile")"
    if ! grep -q "^$name (" "$APPARMOR_FS/profiles"; then
        echo "error: AppArmor was reloaded, but the profile $name is not loaded." >&2
        exit 1
    fi
done
