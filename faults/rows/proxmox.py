"""A container's file as Proxmox reads it: ignored lines, pending changes, no start."""

from __future__ import annotations

from faults.fault import Fault
from faults.rows.configuration import BACK, KEEP
from faults.scenarios import (
    AGAIN,
    CONFINED,
    DENIALS,
    GIVEN,
    HELLO,
    INSIDE,
    MOUNT,
    ONE_NAME,
)

FAULTS = (
    Fault(
        "F09-colon",
        "the profile's line has a blank before its colon",
        KEEP + "sed -i 's/^lxc.apparmor.profile:/lxc.apparmor.profile :/' \"$conf\"",
        red=(GIVEN, ONE_NAME, CONFINED),
        beside=("configuration none; all must be 'lxc-phoenix-v2'", "assigns no profile"),
        words=(
            "'lxc.apparmor.profile : lxc-phoenix-v2' is no option",
            "there is a blank before the colon",
            "the next stop or pct set deletes it",
        ),
        also=(DENIALS, AGAIN),
        rollback=BACK,
    ),
    Fault(
        "F09-equals",
        "the features are assigned with '=', as LXC's own options may be",
        KEEP + "sed -i 's/^features:/features =/' \"$conf\"",
        red=(GIVEN,),
        words=(
            "container {ctid} lacks nesting, keyctl, fuse",
            "is no option: only lxc.* keys may be followed by '='",
        ),
        also=(MOUNT, HELLO, DENIALS, AGAIN),
        rollback=BACK,
    ),
    Fault(
        "F09-indented",
        "a comment is indented",
        KEEP + "sed -i '1i\\  # by hand' \"$conf\"",
        red=(GIVEN,),
        words=(
            "line 1: '  # by hand' is no option: a comment has its # in the first column",
            "the next stop or pct set deletes it",
        ),
        also=(AGAIN,),
        rollback=BACK,
    ),
    Fault(
        "F09-header",
        "an older state is kept below a line that Proxmox does not read as a header",
        KEEP + "printf '\\n[2024-backup]\\nlxc.apparmor.profile: lxc-other\\n' >>\"$conf\"",
        red=(GIVEN, ONE_NAME, CONFINED),
        beside=("lxc-other", "lxc-other"),
        words=(
            "'[2024-backup]' is no section",
            "The lines below it are in effect, the last assignment wins",
        ),
        also=(DENIALS, AGAIN),
        rollback=BACK,
    ),
    Fault(
        "F09-pending",
        "a change of the features is pending until the next stop",
        KEEP + "printf '\\n[pve:pending]\\nfeatures: nesting=1\\n' >>\"$conf\"",
        red=(GIVEN,),
        words=(
            "the next stop of container {ctid} takes away keyctl, fuse",
            "'features: nesting=1'",
            "pct set {ctid} --revert features",
        ),
        also=(MOUNT, HELLO, DENIALS, AGAIN),
        rollback=BACK,
    ),
    Fault(
        "F09-fusion",
        "the features have a key that Proxmox does not know: the container cannot start",
        KEEP + 'pct stop "$ctid"; sed -i \'/^features:/s/$/,fusion=1/\' "$conf"',
        red=(GIVEN,),
        undetermined=INSIDE,
        words=(
            "container {ctid} cannot start: unable to parse value of 'features' - format error",
            "fusion: property is not defined in schema",
        ),
        because=(
            "and cannot start: unable to parse value of 'features'",
            "Correct that, then start",
        ),
        rollback=BACK + '; pct start "$ctid"; settled',
    ),
    Fault(
        "F09-former",
        "the profile is also assigned by a key from before LXC 3: the next start fails",
        KEEP + "echo 'lxc.aa_profile: lxc-container-default' >>\"$conf\"",
        red=(GIVEN,),
        words=("lxc.aa_profile is a name from before LXC 3: write lxc.apparmor.profile",),
        also=(DENIALS, AGAIN),
        rollback=BACK,
    ),
)
