"""AppArmor on the node, and its log."""

from __future__ import annotations

from faults.fault import Fault, container_fault, node_fault, red, undetermined
from faults.scenarios import inside

FAULTS = (
    Fault(
        "F10",
        "the profile is not loaded: lost at a reboot",
        'pct stop "$ctid"; apparmor_parser -R -K "$file"',
        expect=red("enforced", "the kernel does not know the profile lxc-phoenix-v2")
        | red("one-name", "kernel not loaded")
        | undetermined("current", "the kernel does not know")
        | undetermined(inside(), "the kernel does not know"),
    ),
    Fault(
        "F11",
        "the profile's name in its file has underscores",
        "sed -i 's/^profile lxc-phoenix-v2 /profile lxc_phoenix_v2 /' $profiles; load",
        expect=red(
            "one-name",
            "the profile's names differ",
            "lxc_phoenix_v2",
            "all must be 'lxc-phoenix-v2'",
        )
        | red("current", "the kernel's policy for lxc-phoenix-v2 is not what"),
    ),
    Fault(
        "F12",
        "the profile is in complain mode",
        'apparmor_parser -r -K -C "$file"',
        expect=red("enforced", "is in complain mode")
        | red("confined", "runs under 'lxc-phoenix-v2 (complain)'")
        | red("current", "the kernel's policy for lxc-phoenix-v2 is not what"),
        also=("refused",),
    ),
    Fault(
        "F13",
        "the container is unconfined, the popular fix",
        "sed -i '/^lxc.apparmor.profile/s/:.*/: unconfined/' \"$conf\"; restart",
        expect=red("confined", "container {ctid} is unconfined")
        | red("one-name", "configuration ['unconfined']"),
        also=("refused", "again"),
    ),
    node_fault(
        "F14",
        "the profile's file was changed and never loaded",
        "sed -i 's|^}$|  deny /nosuch r,\\n}|' $profiles",
        expect=red("current", "is not what /etc/apparmor.d", "apparmor_parser -r"),
    ),
    node_fault(
        "F14-repository",
        "the deployed profile is not the repository's",
        "echo '# by hand' >>\"$file\"",
        expect=red("deployed", "lxc-phoenix-v2 differ"),
        also=("again",),
    ),
    node_fault(
        "F15",
        "a sibling profile has a syntax error",
        "printf 'profile lxc-sibling {\\n  file\\n}\\n' >/etc/apparmor.d/lxc-sibling; "
        "systemctl reload apparmor || true",
        expect=red("loads", "/etc/apparmor.d/lxc-sibling", "line 3"),
    ),
    Fault(
        "F15-own",
        "the profile itself has a syntax error, and the kernel has an older version",
        "sed -i 's/^  file,$/  file/' $profiles; systemctl reload apparmor || true",
        expect=red("loads", "/etc/apparmor.d/lxc-phoenix-v2", "line ")
        | red("one-name", "cannot be parsed")
        | undetermined("current", "syntax error"),
    ),
    Fault(
        "F16",
        "the profile does not let fuse-overlayfs mount",
        "sed -i '/^  mount fstype=fuse/d' $profiles; load",
        expect=red(
            "rules",
            "has no rule 'mount fstype=fuse.fuse-overlayfs -> /var/lib/docker/fuse-overlayfs/",
        )
        | red("hello", "fuse-overlayfs cannot mount"),
        also=("mount", "denials"),
    ),
    Fault(
        "F16-denied",
        "the profile refuses fuse-overlayfs its mounts, and says so",
        "rule 'audit deny mount fstype=fuse.*,'",
        expect=red(
            "denials",
            "AppArmor denied container {ctid}",
            "to allow it: mount options=(",
            "fstype=fuse",
        )
        | red("hello", "fuse-overlayfs cannot mount"),
        also=("mount",),
    ),
    Fault(
        "F17",
        "the profile refuses the new mount calls",
        "rule 'audit deny mount options=(rw, move),'; restart",
        expect=red(
            "units", "unit(s) failed, each with a denial", "to allow it: mount options=(rw,move)"
        ),
        also=("mount", "hello", "denials"),
    ),
    container_fault(
        "F17-unit",
        "a mount of the guest's own is refused",
        "printf '[Mount]\\nWhat=scratch\\nWhere=/scratch\\nType=tmpfs\\n' | unit scratch.mount",
        expect=red("units", "scratch.mount", "to allow it: mount", "/scratch/"),
    ),
    Fault(
        "F18",
        "the profile refuses bind mounts of the layers",
        "rule 'audit deny mount options=(rw, rbind) -> /var/lib/docker/**,'",
        expect=red(
            "denials", "AppArmor denied container {ctid}", "to allow it: mount options=(rw,rbind)"
        )
        | red("hello", "hello-world ended with 1"),
        also=("mount",),
    ),
    Fault(
        "F18-kernel",
        "bind mounts of the layers are refused, no auditd runs, and the kernel limits its log",
        "pkill -x auditd; sleep 1; ! pgrep -x auditd || exit 1; systemd-run -q --unit=noise "
        "sh -c 'while sleep 0.2; do aa-exec -p noise -- true; done'; "
        "rule 'audit deny mount options=(rw, rbind) -> /var/lib/docker/**,'",
        expect=red(
            "denials", "AppArmor denied container {ctid}", "to allow it: mount options=(rw,rbind)"
        )
        | red("hello", "hello-world ended with 1"),
        also=("mount",),
    ),
    Fault(
        "F19",
        "a quiet deny breaks Docker",
        "rule 'deny mount fstype=fuse.*,'",
        expect=red(
            "denials", "hello-world was refused without a record", "fuse-overlayfs cannot mount"
        )
        | red("hello", "fuse-overlayfs cannot mount"),
        also=("mount",),
    ),
    node_fault(
        "F20",
        "the log is flooded, and the kernel loses records",
        "auditctl -r 1 >/dev/null; systemd-run -q --unit=flood "
        "sh -c 'while :; do aa-exec -p flood -- true; done'",
        expect=undetermined("log", "the kernel lost", "audit records in the window"),
        also=("denials", "reloaded", "loads"),  # the journal loses entries, too
    ),
    node_fault(
        "F21",
        "the log leaves out AppArmor's records",
        "auditctl -a always,exclude -F msgtype=AVC",
        expect=undetermined(
            "log", "leaves out records", "-a always,exclude -F msgtype=AVC", "auditctl -d"
        ),
        also=("denials",),
    ),
    node_fault(
        "F21-gone",
        "the log's file was moved away from under auditd",
        "mv /var/log/audit/audit.log /var/log/audit/taken",
        expect=undetermined(
            "log",
            "denials go to auditd on",
            "/var/log/audit/audit.log cannot be read",
            "cannot be read",
        )
        | undetermined("denials", "cannot be read"),
    ),
    node_fault(
        "F21-room",
        "the log's file system is nearly full",
        "avail=$(df -B1 --output=avail /var/log/audit | tail -n 1); "
        "fallocate -l $((avail - 60 * 1048576)) /var/tmp/fill",
        expect=red("log", "MiB left", "records would be lost"),
        also=("mount", "hello", "denials", "again"),
    ),
    node_fault(
        "F23",
        "the tunable is another author's",
        "echo '@{apparmor_nesting_profiles} = lxc-somebody' >\"$tunable\"; "
        'touch -d 2020-01-01 "$tunable"',
        expect=red("tunable", "says '@{apparmor_nesting_profiles} = lxc-somebody'"),
    ),
    node_fault(
        "F23-missing",
        "the tunable is not there",
        'rm "$tunable"',
        expect=red("tunable", "tunables/nesting is absent")
        | undetermined("reloaded", "tunables/nesting"),
    ),
    node_fault(
        "F23-late",
        "the tunable was written after the last load of AppArmor",
        'touch "$tunable"',
        expect=red("reloaded", "AppArmor was last loaded", "before the tunable was written"),
    ),
    node_fault(
        "F24",
        "the setup script does not write the tunable",
        "sed -i '/tunables\\/nesting$/d' \"$setup\"",
        expect=red("setup", "writes the tunable 0 times"),
    ),
    node_fault(
        "F24-twice",
        "a re-run appended the tunable to the setup script again",
        'line=$(grep \'tunables/nesting$\' "$setup"); printf \'%s\\n\' "$line" >>"$setup"',
        expect=red("setup", "writes the tunable 2 times"),
    ),
    node_fault(
        "F24-late",
        "the setup script writes the tunable after the reload that it is for",
        "line=$(grep 'tunables/nesting$' \"$setup\"); sed -i '/tunables\\/nesting$/d' \"$setup\"; "
        'printf \'%s\\n\' "$line" >>"$setup"',
        expect=red("setup", "the tunable is written after AppArmor is reloaded"),
    ),
)
