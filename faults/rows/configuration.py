"""The container's configuration."""

from __future__ import annotations

from faults.fault import Fault, red, undetermined
from faults.scenarios import inside

#: Another profile with the same rules, so that everything still works.
_OTHER = """
sed 's/^profile lxc-phoenix-v2 /profile lxc-other /' "$file" >/etc/apparmor.d/lxc-other
apparmor_parser -r -K /etc/apparmor.d/lxc-other
"""
_OWN_LIST = "; echo 'lxc.seccomp.profile: /etc/lxc/own.seccomp' >>\"$conf\"; restart"

FAULTS = (
    Fault(
        "F01",
        "the mount entry is cut at its first space",
        'pct stop "$ctid"; sed -i \'1i lxc.mount.entry: /dev/fuse\' "$conf"',
        expect=red("entries", "the mount entry '/dev/fuse' lacks target, type, options", "line 1")
        | undetermined(
            inside(), "is stopped", "the mount entry '/dev/fuse' lacks target, type, options"
        ),
    ),
    Fault(
        "F01-absolute",
        "a mount entry's target begins with '/', so LXC ignores the entry",
        "keep; sed -i '1i lxc.mount.entry: /srv /srv none bind,create=dir 0 0' \"$conf\"",
        expect=red("entries", "begins with '/'", "LXC ignores the entry", "line 1"),
        also=("again",),
        rollback="back",
    ),
    Fault(
        "F02",
        "/dev/fuse is not given to the container",
        "keep; sed -i 's/,fuse=1//; s/fuse=1,//' \"$conf\"; restart",
        expect=red("given", "container {ctid} lacks fuse")
        | red("there", "the container cannot open /dev/fuse: it is not there"),
        also=("mount", "hello", "denials", "again"),
        rollback="back; restart",
    ),
    Fault(
        "F03",
        "nesting is off",
        "keep; sed -i '/^features:/s/nesting=1/nesting=0/' \"$conf\"",
        expect=red("given", "container {ctid} lacks nesting"),
        also=("again",),
        rollback="back",
    ),
    Fault(
        "F03-proc",
        "a Docker container is refused its /proc",
        "rule 'audit deny mount fstype=proc,'",
        expect=red("hello", "nested mounts are refused"),
        also=("mount", "denials"),
    ),
    Fault(
        "F04-refused",
        "a seccomp list refuses keyrings, and says why otherwise than Proxmox's",
        "(cat /usr/share/lxc/config/common.seccomp; echo keyctl errno 1) >/etc/lxc/own.seccomp"
        + _OWN_LIST,
        expect=red("hello", "a seccomp list refuses keyctl"),
        also=("mount", "denials", "again"),
    ),
    Fault(
        "F05",
        "the profile was appended after a snapshot's header",
        "keep; sed -i '/^lxc.apparmor.profile/d' \"$conf\"; "
        'printf \'\\n[pre]\\narch: amd64\\nlxc.apparmor.profile: %s\\n\' "$profile" >>"$conf"',
        expect=red("given", "stands in section [pre], where it has no effect", "line ")
        | red("one-name", "configuration none; all must be 'lxc-phoenix-v2'")
        | red("confined", "assigns no profile"),
        also=("refused", "denials", "again"),
        rollback="back",
    ),
    Fault(
        "F05-line",
        "a line of the configuration is not an option",
        "keep; sed -i '1i nesting 1' \"$conf\"",
        expect=red("given", "line 1: 'nesting 1' is no option"),
        also=("again",),
        rollback="back",
    ),
    Fault(
        "F06",
        "an include after the profile replaces it",
        _OTHER + "echo 'lxc.apparmor.profile = lxc-other' >/etc/lxc/other.conf; "
        "echo 'lxc.include: /etc/lxc/other.conf' >>\"$conf\"; restart",
        expect=red(
            "confined", "runs under 'lxc-other (enforce)'", "then lxc-other; the last one wins"
        ),
        also=("refused", "denials"),
    ),
    Fault(
        "F07",
        "the configuration was changed, and the container not restarted",
        _OTHER + "sed -i '/^lxc.apparmor.profile/s/:.*/: lxc-other/' \"$conf\"; restart; "
        'sed -i "/^lxc.apparmor.profile/s/:.*/: $profile/" "$conf"',
        expect=red("confined", "runs under 'lxc-other (enforce)'", "was not restarted since"),
        also=("refused",),
    ),
    Fault(
        "F08",
        "the container is privileged",
        "keep; sed -i '/^unprivileged/d' \"$conf\"",
        expect=red("unprivileged", "container {ctid} is privileged"),
        also=("denials", "again"),
        rollback="back",
    ),
    Fault(
        "F08-running",
        "the container runs privileged, although its configuration says unprivileged",
        "keep; sed -i '/^unprivileged/d' \"$conf\"; restart; back",
        expect=red("unprivileged", "container {ctid} is privileged", "(no id map)"),
        # The container's files are owned by ids of an unprivileged one.
        also=("units", "refused", "mount", "hello", "denials", "again"),
    ),
    Fault(
        "F08-seccomp",
        "the container's file takes its seccomp list away",
        "keep; echo 'lxc.seccomp.profile:' >>\"$conf\"; restart",
        expect=red("confined", "systemd (process ", "is without a seccomp filter", ", line ")
        | red("restricted", "lets kexec_load,", "'lxc.seccomp.profile: '"),
        rollback="back; restart",
    ),
    Fault(
        "F08-list",
        "the container's own seccomp list refuses nothing",
        "printf '2\\ndenylist\\n' >/etc/lxc/own.seccomp" + _OWN_LIST,
        expect=red("restricted", "lets kexec_load,", "'lxc.seccomp.profile: /etc/lxc/own.seccomp'"),
    ),
    Fault(
        "F08-mounts",
        "LXC mounts /proc and /sys writable in the container",
        "keep; echo 'lxc.mount.auto: proc:rw sys:rw cgroup:rw' >>\"$conf\"; restart",
        expect=red("restricted", "can write below /proc/sys and /sys,", "'lxc.mount.auto: proc:rw"),
        rollback="back; restart",
    ),
    Fault(
        "F08-hole",
        "one user's id is left out of the container's id map",
        "keep; printf 'lxc.idmap: %s\\n' "
        "'u 0 100000 1000' 'u 1001 101001 64535' 'g 0 100000 65536' >>\"$conf\"; restart",
        expect=red("mapped", "user id 1000 is not mapped in container {ctid}", "failed to Lchown"),
        also=("mount", "hello", "denials", "again"),
        rollback="back; restart",
    ),
)
