"""What the plan wants, by name: its files, its texts, the driver and the container's features."""

from __future__ import annotations

from importlib.resources import files as package_files

PROFILE = "lxc-phoenix-v2"
PROFILE_PATH = f"/etc/apparmor.d/{PROFILE}"
TUNABLE_PATH = "/etc/apparmor.d/tunables/nesting"
#: What a site adds to the profile.
PROFILE_LOCAL = f"/etc/apparmor.d/local/{PROFILE}"
#: Read by nothing: compiled policy is the same without it. Written because the plan says so.
TUNABLE = f"@{{apparmor_nesting_profiles}} = {PROFILE}\n".encode()
DRIVER = "fuse-overlayfs"
#: Where Docker keeps its data if its settings do not say.
DATA_ROOT = "/var/lib/docker"
DAEMON_JSON = "/etc/docker/daemon.json"
#: What the container needs from its configuration: nested mounts, keyrings, ``/dev/fuse``.
FEATURES = {"nesting": "1", "keyctl": "1", "fuse": "1"}
#: The keys that the plan sets in a container's configuration, Proxmox's and plain LXC's.
OPTIONS = ("features", "lxc.apparmor.profile")
LXC_OPTIONS = ("lxc.apparmor.allow_nesting", "lxc.apparmor.profile", "lxc.seccomp.profile")
REPOSITORY = "/usr/local/phoenix_hypervisor"
SETUP_SCRIPT = "bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh"
INSTALL_SCRIPT = "bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh"
CONTAINERS = "etc/phoenix_lxc_configs.json"
REPOSITORY_PROFILE = f"etc/apparmor/{PROFILE}"
#: The files of the repository that the plan changes.
FILES = frozenset({SETUP_SCRIPT, REPOSITORY_PROFILE, INSTALL_SCRIPT, CONTAINERS})


def content(name: str) -> str:
    """Return a text that the plan writes, by its name in ``remediation/content``."""
    return (package_files("remediation") / "content" / name).read_text()


def profile(_: bytes | None) -> bytes:
    """Return the profile we ship; a former one is replaced whole, and kept in the journal."""
    return content(PROFILE).encode()
