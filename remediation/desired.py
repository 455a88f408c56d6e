"""The plan's desired state, by name: files, texts, the driver, the container's features."""

from __future__ import annotations

from importlib.resources import files as package_files

from remediation import plan_file

PROFILE = plan_file.find().profile
PROFILE_PATH = f"/etc/apparmor.d/{PROFILE}"
TUNABLE_PATH = "/etc/apparmor.d/tunables/nesting"
#: The site's additions to the profile.
PROFILE_LOCAL = f"/etc/apparmor.d/local/{PROFILE}"
#: The plan demands this file, but no profile reads it: the compiled policy is the same without it.
TUNABLE = f"@{{apparmor_nesting_profiles}} = {PROFILE}\n".encode()
DRIVER = plan_file.find().drivers[0]
#: The default directory of Docker's data.
DATA_ROOT = "/var/lib/docker"
DAEMON_JSON = "/etc/docker/daemon.json"
#: The container's features: nested mounts, keyrings, ``/dev/fuse``.
FEATURES = dict.fromkeys(plan_file.find().features, "1")
#: The keys that the plan sets in a container's configuration, Proxmox's and plain LXC's.
OPTIONS = ("features", "lxc.apparmor.profile", "lxc.seccomp.profile")
LXC_OPTIONS = ("lxc.apparmor.allow_nesting", "lxc.apparmor.profile", "lxc.seccomp.profile")


def profile(_: bytes | None = None) -> bytes:
    """Return the shipped profile. It replaces a former one, whose text stays in the journal."""
    return (package_files("remediation") / "content" / PROFILE).read_bytes()
