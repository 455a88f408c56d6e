"""phoenix's checkout on a node that has one: its files, and what the plan changes in them."""

from __future__ import annotations

from remediation import desired

REPOSITORY = "/usr/local/phoenix_hypervisor"
SETUP_SCRIPT = "bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh"
INSTALL_SCRIPT = "bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh"
CONTAINERS = "etc/phoenix_lxc_configs.json"
PROFILE = f"etc/apparmor/{desired.PROFILE}"
#: The files of the repository that the plan changes.
FILES = frozenset({SETUP_SCRIPT, PROFILE, INSTALL_SCRIPT, CONTAINERS})
