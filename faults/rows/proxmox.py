"""A container's file as Proxmox reads it: ignored lines, pending changes, no start."""

from __future__ import annotations

from faults.fault import Fault, red, undetermined
from faults.scenarios import inside

FAULTS = (
    Fault(
        "F09-colon",
        "the profile's line has a blank before its colon",
        "keep; sed -i 's/^lxc.apparmor.profile:/lxc.apparmor.profile :/' \"$conf\"",
        expect=red(
            "given",
            "'lxc.apparmor.profile : lxc-phoenix-v2' is no option",
            "there is a blank before the colon",
            "the next stop or pct set deletes it",
        )
        | red("one-name", "configuration none; all must be 'lxc-phoenix-v2'")
        | red("confined", "assigns no profile"),
        also=("denials", "again"),
        rollback="back",
    ),
    Fault(
        "F09-equals",
        "the features are assigned with '=', as LXC's own options may be",
        "keep; sed -i 's/^features:/features =/' \"$conf\"",
        expect=red(
            "given",
            "container {ctid} lacks nesting, fuse",
            "is no option: only lxc.* keys may be followed by '='",
        ),
        also=("mount", "hello", "denials", "again"),
        rollback="back",
    ),
    Fault(
        "F09-indented",
        "a comment is indented",
        "keep; sed -i '1i\\  # by hand' \"$conf\"",
        expect=red(
            "given",
            "line 1: '  # by hand' is no option: a comment has its # in the first column",
            "the next stop or pct set deletes it",
        ),
        also=("again",),
        rollback="back",
    ),
    Fault(
        "F09-header",
        "an older state is kept below a line that Proxmox does not read as a header",
        "keep; printf '\\n[2024-backup]\\nlxc.apparmor.profile: lxc-other\\n' >>\"$conf\"",
        expect=red(
            "given",
            "'[2024-backup]' is no section",
            "The lines below it are in effect, the last assignment wins",
        )
        | red("one-name", "lxc-other")
        | red("confined", "lxc-other"),
        also=("denials", "again"),
        rollback="back",
    ),
    Fault(
        "F09-pending",
        "a change of the features is pending until the next stop",
        "keep; printf '\\n[pve:pending]\\nfeatures: nesting=1\\n' >>\"$conf\"",
        expect=red(
            "given",
            "the next stop of container {ctid} takes away fuse",
            "'features: nesting=1'",
            "pct set {ctid} --revert features",
        ),
        also=("mount", "hello", "denials", "again"),
        rollback="back",
    ),
    Fault(
        "F09-fusion",
        "the features have a key that Proxmox does not know: the container cannot start",
        'keep; pct stop "$ctid"; sed -i \'/^features:/s/$/,fusion=1/\' "$conf"',
        expect=red(
            "given",
            "container {ctid} cannot start: unable to parse value of 'features' - format error",
            "fusion: property is not defined in schema",
        )
        | undetermined(
            inside(),
            "and cannot start: unable to parse value of 'features'",
            "Correct that, then start",
        ),
        rollback='back; pct start "$ctid"; settled',
    ),
    Fault(
        "F09-mount-point",
        "a mount point has no place in the container: it starts without it",
        "keep; sed -i '1i mp9: /srv' \"$conf\"",
        expect=red(
            "given",
            "mp: property is missing and it is not optional",
            "starts the container without this mount point",
        ),
        also=("again",),
        rollback="back",
    ),
    Fault(
        "F09-former",
        "the profile is also assigned by a key from before LXC 3: the next start fails",
        "keep; echo 'lxc.aa_profile: lxc-container-default' >>\"$conf\"",
        expect=red(
            "given", "lxc.aa_profile is a name from before LXC 3: write lxc.apparmor.profile"
        ),
        also=("denials", "again"),
        rollback="back",
    ),
)
