"""What can keep a rollback from being exact; F63, a run that is cut off, is test_interruption's.

The plan takes itself back correctly, so something on the node undoes that behind its back.
"""

from __future__ import annotations

from faults.fault import READY, Fault
from faults.scenarios import DOCKER_BACK, LETTER, PROFILE_BACK, REHEARSED, TUNABLE_BACK

_RELOAD_LEAVES_A_FILE = """
mkdir -p /etc/systemd/system/apparmor.service.d
printf '[Service]\\nExecReload=/bin/sh -c "date >/etc/left-by-a-reload"\\n' \
    >/etc/systemd/system/apparmor.service.d/left.conf
systemctl daemon-reload
"""
_REMOVAL_LEAVES_A_PROFILE = """
wrap /usr/sbin/apparmor_parser '
case " $* " in *" -R "*) echo "profile lxc-left { }" | "$real" -r -K ;; esac
exec "$real" "$@"'
"""


def _pct(when: str, then: str) -> str:
    """Return an injection by which pct does something else, or more, when told a certain thing.

    Args:
        when: shell pattern of its arguments.
        then: shell; ``$real`` is pct itself, ``$2`` the container.
    """
    return f"""
wrap /usr/sbin/pct '
case "$*" in
    *" -s "*) ;;
    {when}) {then} ;;
esac
exec "$real" "$@"'
"""


FAULTS = (
    Fault(
        "F60",
        "a reload of AppArmor leaves a file",
        _RELOAD_LEAVES_A_FILE,
        red=(TUNABLE_BACK, REHEARSED),
        words=("not as before", "/etc/left-by-a-reload"),
        beside=("/etc/left-by-a-reload",),
        start=READY,
    ),
    Fault(
        "F60-profile",
        "another profile is in the kernel when ours has left it",
        _REMOVAL_LEAVES_A_PROFILE,
        red=(PROFILE_BACK,),
        words=("not as before", "policy lxc-left"),
        start=READY,
    ),
    Fault(
        "F61",
        "with the package a file of the user's own goes",
        _pct(
            '*apt-get*" purge "*',
            '"$real" "$@"; code=$?; "$real" exec "$2" -- '
            "rm -f /etc/systemd/system-preset/00-lab.preset </dev/null; exit $code",
        ),
        red=(DOCKER_BACK,),
        words=("not as before", "/etc/systemd/system-preset/00-lab.preset"),
        start=READY,
    ),
    Fault(
        "F62",
        "the layers of the plan's driver stay, and Docker does not start on two drivers",
        _pct('*" mv -T /var/lib/docker/fuse-overlayfs "*', "exit 0"),
        undetermined=(DOCKER_BACK,),
        words=("these changes are still in place", "Docker uses fuse-overlayfs"),
        start=READY,
    ),
    Fault(
        "F62-running",
        "a Docker container that ran before the plan does not run again",
        _pct('*" docker start "*', "exit 0"),
        red=(DOCKER_BACK, PROFILE_BACK),  # and then it does not run when the rehearsal begins
        words=("['lasting'] ran, and now none",),
        beside=("not as before",),
        start=READY,
    ),
    Fault(
        "F62-letter",
        "the letter of the plan's rollback would do after all",
        _pct(
            '*"apt-get purge -y fuse-overlayfs"*',
            '"$real" "$@"; code=$?; "$real" exec "$2" -- rm -rf /var/lib/docker/fuse-overlayfs '
            "/var/lib/docker/overlay2 /var/lib/docker/image </dev/null; exit $code",
        ),
        red=(LETTER,),
        words=("Docker started after the letter of the plan's rollback",),
        start=READY,
    ),
)
