"""The container's configuration."""

from __future__ import annotations

from faults.fault import CONTAINER, Fault, red, undetermined
from faults.scenarios import inside

#: KEEP saves the container's configuration; BACK restores it.
KEEP = 'cat "$conf" >/run/docker-lxc-gate.conf; '
BACK = (
    "test -s /run/docker-lxc-gate.conf; "
    'cat /run/docker-lxc-gate.conf >"$conf"; rm /run/docker-lxc-gate.conf'
)
#: Another profile with the same rules, so that everything still works.
_OTHER = """
sed 's/^profile lxc-phoenix-v2 /profile lxc-other /' "$file" >/etc/apparmor.d/lxc-other
apparmor_parser -r -K /etc/apparmor.d/lxc-other
"""

FAULTS = (
    Fault(
        "F01",
        "the mount entry is cut at its first space",
        'pct stop "$ctid"; sed -i \'1i lxc.mount.entry: /dev/fuse\' "$conf"',
        expect={
            "entries": red(
                "mount entry has 1 field(s), '/dev/fuse'", "target, type, options missing", "line 1"
            ),
            **dict.fromkeys(
                inside(),
                undetermined(
                    "is stopped", "the mount entry '/dev/fuse' lacks target, type, options"
                ),
            ),
        },
    ),
    Fault(
        "F02",
        "/dev/fuse is not given to the container",
        KEEP + "sed -i 's/,fuse=1//; s/fuse=1,//' \"$conf\"; restart",
        expect={
            "given": red("container {ctid} lacks fuse"),
            "there": red("the container cannot open /dev/fuse: it is not there"),
        },
        also=("mount", "hello", "denials", "again"),
        rollback=BACK + "; restart",
    ),
    Fault(
        "F03",
        "nesting is off",
        KEEP + "sed -i '/^features:/s/nesting=1/nesting=0/' \"$conf\"",
        expect={"given": red("container {ctid} lacks nesting")},
        also=("again",),
        rollback=BACK,
    ),
    Fault(
        "F03-proc",
        "a Docker container is refused its /proc",
        "rule 'audit deny mount fstype=proc,'",
        expect={"hello": red("nested mounts are refused")},
        also=("mount", "denials"),
    ),
    Fault(
        "F04",
        "keyrings are off",
        KEEP + "sed -i '/^features:/s/keyctl=1/keyctl=0/' \"$conf\"; restart",
        expect={
            "given": red("container {ctid} lacks keyctl"),
            "there": red("keyctl is refused in the container"),
        },
        also=("again",),
        rollback=BACK + "; restart",
    ),
    Fault(
        "F04-perl",
        "the container has no perl, so the gate cannot test keyrings",
        "inside mv /usr/bin/perl /usr/bin/perl.off",
        expect={"there": undetermined("cannot test whether keyctl works", "perl")},
        reach=CONTAINER,
        rollback="inside mv /usr/bin/perl.off /usr/bin/perl",
    ),
    Fault(
        "F05",
        "the profile was appended after a snapshot's header",
        KEEP + "sed -i '/^lxc.apparmor.profile/d' \"$conf\"; "
        'printf \'\\n[pre]\\narch: amd64\\nlxc.apparmor.profile: %s\\n\' "$profile" >>"$conf"',
        expect={
            "given": red("stands in section [pre], where it has no effect", "line "),
            "one-name": red("configuration none; all must be 'lxc-phoenix-v2'"),
            "confined": red("assigns no profile"),
        },
        also=("refused", "denials", "again"),
        rollback=BACK,
    ),
    Fault(
        "F05-line",
        "a line of the configuration is not an option",
        KEEP + "sed -i '1i nesting 1' \"$conf\"",
        expect={"given": red("line 1: 'nesting 1' is no option")},
        also=("again",),
        rollback=BACK,
    ),
    Fault(
        "F06",
        "an include after the profile replaces it",
        _OTHER + "echo 'lxc.apparmor.profile = lxc-other' >/etc/lxc/other.conf; "
        "echo 'lxc.include: /etc/lxc/other.conf' >>\"$conf\"; restart",
        expect={
            "confined": red("runs under 'lxc-other (enforce)'", "then lxc-other; the last one wins")
        },
        also=("refused", "denials"),
    ),
    Fault(
        "F07",
        "the configuration was changed, and the container not restarted",
        _OTHER + "sed -i '/^lxc.apparmor.profile/s/:.*/: lxc-other/' \"$conf\"; restart; "
        'sed -i "/^lxc.apparmor.profile/s/:.*/: $profile/" "$conf"',
        expect={"confined": red("runs under 'lxc-other (enforce)'", "was not restarted since")},
        also=("refused",),
    ),
    Fault(
        "F08",
        "the container is privileged",
        KEEP + "sed -i '/^unprivileged/d' \"$conf\"",
        expect={"unprivileged": red("container {ctid} is privileged")},
        also=("denials", "again"),
        rollback=BACK,
    ),
    Fault(
        "F08-running",
        "the container runs privileged, although its configuration says unprivileged",
        KEEP + "sed -i '/^unprivileged/d' \"$conf\"; restart; " + BACK,
        expect={"unprivileged": red("container {ctid} is privileged", "(no id map)")},
        # The container's files are owned by ids of an unprivileged one.
        also=("units", "refused", "mount", "hello", "denials", "again"),
    ),
    Fault(
        "F08-hole",
        "one user's id is left out of the container's id map",
        KEEP
        + "printf 'lxc.idmap: %s\\n' 'u 0 100000 1000' 'u 1001 101001 64535' 'g 0 100000 65536' "
        '>>"$conf"; restart',
        expect={
            "mapped": red("user id 1000 is not mapped in container {ctid}", "failed to Lchown")
        },
        also=("mount", "hello", "denials", "again"),
        rollback=BACK + "; restart",
    ),
)
