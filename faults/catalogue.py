"""The faults, by their ids in the failure catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from remediation.docker_in_lxc import INSTALL_SCRIPT, PROFILE, REPOSITORY

#: The gate's exit codes that a fault may cause.
NOT_COMPLIANT, UNDETERMINED = 1, 3
CTID = 950
CONF = f"/etc/pve/lxc/{CTID}.conf"


@dataclass(frozen=True)
class Fault:
    """One way of breaking a healthy target.

    ``inject`` is shell for the node, where ``inside`` runs its arguments in the container;
    ``ask`` the feature file that must notice, ``scenario`` the title of the scenario that turns
    red (or undetermined, by ``verdict``), and ``words`` what its report must say. ``fresh``
    faults begin from an applied plan without a container, all others from a compliant lab.
    """

    id: str
    title: str
    inject: str
    ask: str
    scenario: str
    words: tuple[str, ...]
    verdict: int = NOT_COMPLIANT
    fresh: bool = False


_RESTART = f"pct stop {CTID} && pct start {CTID}"
_RELOAD = f"apparmor_parser -r -K /etc/apparmor.d/{PROFILE}"
_DAEMON_JSON = "/etc/docker/daemon.json"

FAULTS = (
    # -- container configuration
    Fault(
        "F01",
        "the mount entry is cut at its first space",
        f"pct stop {CTID}; sed -i '1i lxc.mount.entry: /dev/fuse' {CONF}",
        "container_configuration",
        "No mount entry is cut short",
        ("1 field(s), '/dev/fuse'", "target, type, options missing", "line 1"),
    ),
    Fault(
        "F02",
        "/dev/fuse is not given to the container",
        f"sed -i 's/,fuse=1//; s/fuse=1,//' {CONF} && {_RESTART}",
        "container_configuration",
        "What was given is there",
        ("cannot open /dev/fuse", "fuse=1"),
    ),
    Fault(
        "F05",
        "the profile was appended after a snapshot's header",
        f"sed -i '/^lxc.apparmor.profile/d' {CONF} && "
        f"printf '\\n[pre]\\narch: amd64\\nlxc.apparmor.profile: {PROFILE}\\n' >>{CONF}",
        "container_configuration",
        "The container is given what Docker needs",
        ("stands in section [pre], where it has no effect", "line "),
    ),
    # -- AppArmor
    Fault(
        "F12",
        "the profile is in complain mode",
        f"apparmor_parser -r -K -C /etc/apparmor.d/{PROFILE}",
        "apparmor_profile",
        "The profile is loaded and enforced",
        ("is in complain mode",),
    ),
    Fault(
        "F13",
        "the container is unconfined, the popular fix",
        f"sed -i '/^lxc.apparmor.profile/s/:.*/: unconfined/' {CONF} && {_RESTART}",
        "apparmor_profile",
        "The container runs under the profile",
        (f"container {CTID} is unconfined",),
    ),
    Fault(
        "F14",
        "the profile's file was changed and never loaded",
        f"sed -i 's/^}}$/  deny \\/nosuch r,\\n}}/' "
        f"/etc/apparmor.d/{PROFILE} {REPOSITORY}/etc/apparmor/{PROFILE}",
        "apparmor_profile",
        "The deployed profile is the kernel's",
        ("is not what /etc/apparmor.d", "apparmor_parser -r"),
    ),
    Fault(
        "F15",
        "a sibling profile has a syntax error",
        "printf 'profile lxc-sibling {\\n  file\\n}\\n' >/etc/apparmor.d/lxc-sibling; "
        "systemctl reload apparmor || true",
        "apparmor_tunable",
        "AppArmor loads without an error",
        ("/etc/apparmor.d/lxc-sibling", "line 3"),
    ),
    Fault(
        "F16",
        "the profile refuses fuse-overlayfs its mounts",
        f"sed -i 's/^}}$/  audit deny mount fstype=fuse.*,\\n}}/' /etc/apparmor.d/{PROFILE} && "
        f"{_RELOAD}",
        "hello_world",
        "hello-world is pulled, runs and greets",
        ("fuse-overlayfs cannot mount",),
    ),
    Fault(
        "F21",
        "the log leaves out AppArmor's records",
        "auditctl -a always,exclude -F msgtype=AVC",
        "denials",
        "Starting the container and running Docker is denied nothing",
        ("did not reach the auditd log", "a quiet log says nothing"),
        UNDETERMINED,
    ),
    # -- Docker
    Fault(
        "F30",
        "Docker stores its layers with vfs",
        f"inside sed -i 's/fuse-overlayfs/vfs/' {_DAEMON_JSON}; inside systemctl restart docker",
        "storage_driver",
        "The engine uses the required driver",
        ("storage driver is 'vfs'",),
    ),
    Fault(
        "F33",
        "daemon.json is not JSON",
        f"inside sed -i 's/fuse-overlayfs\"/fuse-overlayfs\",,/' {_DAEMON_JSON}; "
        "inside systemctl restart docker || true",
        "install_script",
        "What the script does is done, in the container",
        ("daemon.json, line ", "column ", "Docker does not start"),
    ),
    Fault(
        "F34",
        "daemon.json lost the user's other settings",
        'printf \'{"storage-driver": "fuse-overlayfs"}\\n\' >/tmp/daemon.json; '
        f"pct push {CTID} /tmp/daemon.json {_DAEMON_JSON}",
        "install_script",
        "The user's own Docker settings survive",
        ("the user's settings are lost",),
    ),
    Fault(
        "F36",
        "Docker does not start at boot",
        "inside systemctl disable docker.service docker.socket",
        "storage_driver",
        "The engine uses the required driver",
        ("does not start at boot",),
    ),
    Fault(
        "F39",
        "the registry cannot be reached",
        "systemctl stop docker-registry",
        "hello_world",
        "hello-world is pulled, runs and greets",
        ("the registry did not serve hello-world",),
        UNDETERMINED,
    ),
    Fault(
        "F41",
        "the greeting comes without a container",
        "inside mv /usr/bin/docker /usr/bin/docker.real; printf '%s\\n' '#!/bin/sh' "
        '\'[ "$1" = run ] && { echo "Hello from Docker!"; exit 0; }\' '
        "'exec /usr/bin/docker.real \"$@\"' >/tmp/docker; "
        f"pct push {CTID} /tmp/docker /usr/bin/docker --perms 755",
        "hello_world",
        "hello-world is pulled, runs and greets",
        ("dockerd knows of no such run",),
    ),
    # -- provisioning and idempotency
    Fault(
        "F50",
        "create exits 0 and does nothing",
        f"printf '#!/bin/sh\\nexit 0\\n' >{REPOSITORY}/bin/phoenix",
        "provisioning",
        "A container is provisioned from nothing",
        (f"left no container {CTID}",),
        fresh=True,
    ),
    Fault(
        "F51",
        "a second run restarts Docker",
        f"echo 'inside systemctl restart docker' >>{REPOSITORY}/{INSTALL_SCRIPT}",
        "idempotency",
        "A second provisioning changes nothing",
        ("a second run changed", "dockerd: "),
    ),
    # -- access
    Fault(
        "F71",
        "the container is stopped",
        f"pct stop {CTID}",
        "storage_driver",
        "The engine uses the required driver",
        (f"container {CTID}", "is stopped", f"pct start {CTID}"),
        UNDETERMINED,
    ),
)
