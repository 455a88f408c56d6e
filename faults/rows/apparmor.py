"""AppArmor on the node, and its log."""

from __future__ import annotations

from faults.fault import CONTAINER, NODE, Fault, red, undetermined
from faults.scenarios import inside

_BOTH_FILES = '"$file" "$repository/etc/apparmor/$profile"'

FAULTS = (
    Fault(
        "F10",
        "the profile is not loaded: lost at a reboot",
        'pct stop "$ctid"; apparmor_parser -R -K "$file"',
        expect={
            "enforced": red("the kernel does not know the profile lxc-phoenix-v2"),
            "one-name": red("kernel not loaded"),
            "current": undetermined("the kernel does not know"),
            **dict.fromkeys(inside(), undetermined("the kernel does not know")),
        },
    ),
    Fault(
        "F11",
        "the profile's name in its file has underscores",
        f"sed -i 's/^profile lxc-phoenix-v2 /profile lxc_phoenix_v2 /' {_BOTH_FILES}; load",
        expect={
            "one-name": red(
                "the profile's names differ", "lxc_phoenix_v2", "all must be 'lxc-phoenix-v2'"
            ),
            "current": red("the kernel's policy for lxc-phoenix-v2 is not what"),
        },
    ),
    Fault(
        "F12",
        "the profile is in complain mode",
        'apparmor_parser -r -K -C "$file"',
        expect={
            "enforced": red("is in complain mode"),
            "confined": red("runs under 'lxc-phoenix-v2 (complain)'"),
            "current": red("the kernel's policy for lxc-phoenix-v2 is not what"),
        },
        also=("refused",),
    ),
    Fault(
        "F13",
        "the container is unconfined, the popular fix",
        "sed -i '/^lxc.apparmor.profile/s/:.*/: unconfined/' \"$conf\"; restart",
        expect={
            "confined": red("container {ctid} is unconfined"),
            "one-name": red("configuration ['unconfined']"),
        },
        also=("refused", "again"),
    ),
    Fault(
        "F14",
        "the profile's file was changed and never loaded",
        f"sed -i 's|^}}$|  deny /nosuch r,\\n}}|' {_BOTH_FILES}",
        expect={"current": red("is not what /etc/apparmor.d", "apparmor_parser -r")},
        reach=NODE,
    ),
    Fault(
        "F14-repository",
        "the deployed profile is not the repository's",
        "echo '# by hand' >>\"$file\"",
        expect={"deployed": red("lxc-phoenix-v2 differ")},
        also=("again",),
        reach=NODE,
    ),
    Fault(
        "F15",
        "a sibling profile has a syntax error",
        "printf 'profile lxc-sibling {\\n  file\\n}\\n' >/etc/apparmor.d/lxc-sibling; "
        "systemctl reload apparmor || true",
        expect={"loads": red("/etc/apparmor.d/lxc-sibling", "line 3")},
        reach=NODE,
    ),
    Fault(
        "F15-own",
        "the profile itself has a syntax error, and the kernel has an older version",
        f"sed -i 's/^  file,$/  file/' {_BOTH_FILES}; systemctl reload apparmor || true",
        expect={
            "loads": red("/etc/apparmor.d/lxc-phoenix-v2", "line "),
            "one-name": red("cannot be parsed"),
            "current": undetermined("syntax error"),
        },
    ),
    Fault(
        "F16",
        "the profile does not let fuse-overlayfs mount",
        f"sed -i '/^  mount fstype=fuse/d' {_BOTH_FILES}; load",
        expect={
            "rules": red(
                "has no rule 'mount fstype=fuse.fuse-overlayfs -> /var/lib/docker/fuse-overlayfs/"
            ),
            "hello": red("fuse-overlayfs cannot mount"),
        },
        also=("mount", "denials"),
    ),
    Fault(
        "F16-denied",
        "the profile refuses fuse-overlayfs its mounts, and says so",
        "rule 'audit deny mount fstype=fuse.*,'",
        expect={
            "denials": red(
                "AppArmor denied container {ctid}", "to allow it: mount options=(", "fstype=fuse"
            ),
            "hello": red("fuse-overlayfs cannot mount"),
        },
        also=("mount",),
    ),
    Fault(
        "F17",
        "the profile refuses the new mount calls",
        "rule 'audit deny mount options=(rw, move),'; restart",
        expect={
            "units": red(
                "unit(s) failed, each with a denial", "to allow it: mount options=(rw,move)"
            )
        },
        also=("mount", "hello", "denials"),
    ),
    Fault(
        "F17-unit",
        "a mount of the guest's own is refused",
        "printf '[Mount]\\nWhat=scratch\\nWhere=/scratch\\nType=tmpfs\\n' | "
        "into /etc/systemd/system/scratch.mount; inside systemctl daemon-reload; "
        "inside systemctl start scratch.mount || true",
        expect={"units": red("scratch.mount", "to allow it: mount", "/scratch/")},
        reach=CONTAINER,
    ),
    Fault(
        "F18",
        "the profile refuses bind mounts of the layers",
        "rule 'audit deny mount options=(rw, rbind) -> /var/lib/docker/**,'",
        expect={
            "denials": red(
                "AppArmor denied container {ctid}", "to allow it: mount options=(rw,rbind)"
            ),
            "hello": red("hello-world ended with 1"),
        },
        also=("mount",),
    ),
    Fault(
        "F18-kernel",
        "bind mounts of the layers are refused, no auditd runs, and the kernel limits its log",
        "pkill -x auditd; sleep 1; ! pgrep -x auditd || exit 1; systemd-run -q --unit=noise "
        "sh -c 'while sleep 0.2; do aa-exec -p noise -- true; done'; "
        "rule 'audit deny mount options=(rw, rbind) -> /var/lib/docker/**,'",
        expect={
            "denials": red(
                "AppArmor denied container {ctid}", "to allow it: mount options=(rw,rbind)"
            ),
            "hello": red("hello-world ended with 1"),
        },
        also=("mount",),
    ),
    Fault(
        "F19",
        "a quiet deny breaks Docker",
        "rule 'deny mount fstype=fuse.*,'",
        expect={
            "denials": red(
                "hello-world was refused without a record", "fuse-overlayfs cannot mount"
            ),
            "hello": red("fuse-overlayfs cannot mount"),
        },
        also=("mount",),
    ),
    Fault(
        "F20",
        "the log is flooded, and the kernel loses records",
        "auditctl -r 1 >/dev/null; systemd-run -q --unit=flood "
        "sh -c 'while :; do aa-exec -p flood -- true; done'",
        expect={"log": undetermined("the kernel lost", "audit records in the window")},
        also=("denials", "reloaded", "loads"),  # the journal loses entries, too
        reach=NODE,
    ),
    Fault(
        "F21",
        "the log leaves out AppArmor's records",
        "auditctl -a always,exclude -F msgtype=AVC",
        expect={
            "log": undetermined(
                "leaves out records", "-a always,exclude -F msgtype=AVC", "auditctl -d"
            )
        },
        also=("denials",),
        reach=NODE,
    ),
    Fault(
        "F21-gone",
        "the log's file was moved away from under auditd",
        "mv /var/log/audit/audit.log /var/log/audit/taken",
        expect={
            "log": undetermined(
                "denials go to auditd on",
                "/var/log/audit/audit.log cannot be read",
                "cannot be read",
            ),
            "denials": undetermined("cannot be read"),
        },
        reach=NODE,
    ),
    Fault(
        "F21-room",
        "the log's file system is nearly full",
        "avail=$(df -B1 --output=avail /var/log/audit | tail -n 1); "
        "fallocate -l $((avail - 60 * 1048576)) /var/tmp/fill",
        expect={"log": red("MiB left", "records would be lost")},
        also=("mount", "hello", "denials", "again"),
        reach=NODE,
    ),
    Fault(
        "F23",
        "the tunable is another author's",
        "echo '@{apparmor_nesting_profiles} = lxc-somebody' >\"$tunable\"; "
        'touch -d 2020-01-01 "$tunable"',
        expect={"tunable": red("says '@{apparmor_nesting_profiles} = lxc-somebody'")},
        reach=NODE,
    ),
    Fault(
        "F23-missing",
        "the tunable is not there",
        'rm "$tunable"',
        expect={
            "tunable": red("tunables/nesting is absent"),
            "reloaded": undetermined("tunables/nesting"),
        },
        reach=NODE,
    ),
    Fault(
        "F23-late",
        "the tunable was written after the last load of AppArmor",
        'touch "$tunable"',
        expect={"reloaded": red("AppArmor was last loaded", "before the tunable was written")},
        reach=NODE,
    ),
    Fault(
        "F24",
        "the setup script does not write the tunable",
        "sed -i '/tunables\\/nesting$/d' \"$setup\"",
        expect={"setup": red("writes the tunable 0 times")},
        reach=NODE,
    ),
    Fault(
        "F24-twice",
        "a re-run appended the tunable to the setup script again",
        'line=$(grep \'tunables/nesting$\' "$setup"); printf \'%s\\n\' "$line" >>"$setup"',
        expect={"setup": red("writes the tunable 2 times")},
        reach=NODE,
    ),
    Fault(
        "F24-late",
        "the setup script writes the tunable after the reload that it is for",
        "line=$(grep 'tunables/nesting$' \"$setup\"); sed -i '/tunables\\/nesting$/d' \"$setup\"; "
        'printf \'%s\\n\' "$line" >>"$setup"',
        expect={"setup": red("the tunable is written after AppArmor is reloaded")},
        reach=NODE,
    ),
)
