"""Exactness of a rollback; ``tests/live/test_interruption.py`` covers interrupted runs (F63).

Rollback itself is correct, so each fault changes a program on the node that spoils its result.
"""

from __future__ import annotations

from faults.fault import OTHER, Fault, red, undetermined

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
    """Return an injection that wraps pct, and runs other shell for certain arguments.

    Args:
        when: shell pattern of pct's arguments.
        then: shell; ``$real`` is the original pct, ``$2`` the container.
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
        expect=red("tunable-back", "not as before", "/etc/left-by-a-reload"),
        start=OTHER,
    ),
    Fault(
        "F60-rehearsed",
        "a reload of AppArmor leaves a file, when the whole plan is rehearsed",
        _RELOAD_LEAVES_A_FILE,
        expect=red("rehearsed", "thing(s) differ", "/etc/left-by-a-reload"),
        start=OTHER,
    ),
    Fault(
        "F60-unconfined",
        "the container starts without the profile that its file names",
        _pct(
            '"start "*',
            'conf=/etc/pve/lxc/$2.conf; cp -p "$conf" /run/conf; '
            'sed -i "/^lxc.apparmor.profile/d" "$conf"; "$real" "$@"; code=$?; '
            'cp -p /run/conf "$conf"; exit $code',
        ),
        expect=red("rehearsed", "still not as the plan wants: the profile of the container"),
        start=OTHER,
    ),
    Fault(
        "F60-profile",
        "removing the profile from the kernel loads another one",
        _REMOVAL_LEAVES_A_PROFILE,
        expect=red("profile-back", "not as before", "policy lxc-left"),
        start=OTHER,
    ),
    Fault(
        "F61",
        "purging the package deletes one of the user's own files",
        _pct(
            '*apt-get*" purge "*',
            '"$real" "$@"; code=$?; "$real" exec "$2" -- '
            "rm -f /etc/systemd/system-preset/00-lab.preset </dev/null; exit $code",
        ),
        expect=red("docker-back", "not as before", "/etc/systemd/system-preset/00-lab.preset"),
        start=OTHER,
    ),
    Fault(
        "F62",
        "the layers of the plan's driver stay: Docker refuses to start with two drivers",
        _pct('*" mv -T /var/lib/docker/fuse-overlayfs "*', "exit 0"),
        expect=undetermined(
            "docker-back", "these changes are still in place", "Docker uses fuse-overlayfs"
        ),
        start=OTHER,
    ),
    Fault(
        "F62-running",
        "a Docker container that ran before the plan does not run again",
        _pct('*" docker start "*', "exit 0"),
        expect=red("docker-back", "['lasting'] ran, and now none")
        | red("profile-back", "not as before"),
        start=OTHER,
    ),
    Fault(
        "F62-letter",
        "the plan's rollback, followed to the letter, leaves a Docker that starts",
        _pct(
            '*"apt-get purge -y fuse-overlayfs"*',
            '"$real" "$@"; code=$?; "$real" exec "$2" -- rm -rf /var/lib/docker/fuse-overlayfs '
            "/var/lib/docker/overlay2 /var/lib/docker/image </dev/null; exit $code",
        ),
        expect=red("letter", "Docker started after the letter of the plan's rollback"),
        start=OTHER,
    ),
)
