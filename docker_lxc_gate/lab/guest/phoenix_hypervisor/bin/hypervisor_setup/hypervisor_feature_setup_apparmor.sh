#!/bin/bash
#
# hypervisor_feature_setup_apparmor.sh
#
# Installs the AppArmor profiles of this repository on the host and reloads AppArmor.
# Reloading replaces profiles in place: running containers stay confined.

set -euo pipefail

install -m 644 "$(dirname "${BASH_SOURCE[0]}")"/../../etc/apparmor/lxc-* /etc/apparmor.d

echo 'Reloading AppArmor...'
systemctl reload apparmor
