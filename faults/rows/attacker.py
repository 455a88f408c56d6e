"""Ways to a wrong green verdict, by an attacker or an administrator's accident."""

from __future__ import annotations

from faults.fault import Fault, container_fault, node_fault, red, undetermined
from faults.rows.audit_window import left_out, meanwhile
from remediation.desired import PROFILE_PATH

#: Scenarios that may fail once Docker is restarted.
_RESTARTED = ("mount", "hello", "denials", "again")
_DENIED = '/usr/bin/perl -e "socket(S, 38, 5, 0) or exit 1"'

FAULTS = (
    container_fault(
        "F33-waiting",
        "daemon.json has a setting with which Docker cannot start, and Docker was not restarted",
        r"""inside sed -i '0,/{/s||{"hosts": ["fd://"],|' "$settings" """,
        expect=red("installed", "Docker does not start on daemon.json as it is now", "hosts"),
        also=_RESTARTED,
    ),
    container_fault(
        "F36-waiting",
        "docker.service has another command line, and Docker was not restarted",
        "inside mkdir -p /etc/systemd/system/docker.service.d\n"
        r"printf '[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// -s vfs\n' | "
        "into /etc/systemd/system/docker.service.d/local.conf\ninside systemctl daemon-reload",
        expect=red("driver", "docker.service was changed since Docker was started", "-s vfs"),
        also=_RESTARTED,
    ),
    Fault(
        "F26-nsenter",
        "containerd was started from the node, past the container's profile and cgroup",
        "inside systemctl stop docker.socket docker containerd\n"
        "inside systemctl -q mask --runtime containerd\n"
        'systemd-run -q --unit=by-hand nsenter -t "$(lxc-info -n "$ctid" -p -H)" -a '
        "/usr/bin/containerd\n"
        "until inside test -S /run/containerd/containerd.sock; do sleep 0.5; done\n"
        "inside systemctl start docker",
        expect=red(
            "confined", "not confined by lxc-phoenix-v2", "containerd (process ", "is unconfined"
        ),
        also=("units", *_RESTARTED),
    ),
    node_fault(
        "F12-attached",
        "the profile is attached to a program of the node, too",
        "sed -i 's|^profile lxc-phoenix-v2 |&/usr/bin/factor |' $profiles; load",
        expect=red(
            "enforced", "the profile lxc-phoenix-v2 is attached to '", "programs of the node"
        ),
        also=("again",),
    ),
    node_fault(
        "F10-boot",
        "AppArmor's service does not start at boot: the profile is lost then",
        "systemctl -q disable apparmor",
        expect=red(
            "enforced",
            "apparmor.service does not start at boot (disabled)",
            "systemctl enable apparmor",
        ),
    ),
    Fault(
        "F10-disabled",
        "the profile was disabled but is still loaded: the next load loses it",
        'mkdir -p /etc/apparmor.d/disable; ln -s "$file" /etc/apparmor.d/disable/',
        expect=red("one-name", "the profile's names differ")
        | red("current", "the kernel's policy for lxc-phoenix-v2 is not what"),
        also=("again",),
    ),
    Fault(
        "F08-idmap",
        "the node's root is an ordinary user of the container",
        # Users alone: with the node's group, too, LXC's own mount hook fails.
        "echo root:0:1 >>/etc/subuid; "
        'printf \'lxc.idmap: %s\\n\' "u 0 100000 1000" "u 1000 0 1" "u 1001 101001 64535" '
        '"g 0 100000 65536" >>"$conf"; restart',
        expect=red("unprivileged", "user 1000 of container {ctid} is the node's root"),
        also=(*_RESTARTED, "units"),
    ),
    node_fault(
        "F82-include",
        "another container has the profile through an include of its configuration",
        'echo "lxc.apparmor.profile = $profile" >/etc/lxc/phoenix.conf\n'
        "create 953 other; echo 'lxc.include: /etc/lxc/phoenix.conf' >>/etc/pve/lxc/953.conf\n"
        "pct start 953",
        expect=red("neighbours", "the change reaches 1 other container(s) that run: 953"),
    ),
    node_fault(
        "F80-another",
        "the archive with the backup's name holds another container",
        "mkdir -p /tmp/another/etc/vzdump; sed -e 's/^hostname: .*/hostname: another/' "
        "-e 's|^rootfs: [^,]*|rootfs: local:953/vm-953-disk-0.raw|' "
        "-e 's/hwaddr=[^,]*/hwaddr=BC:24:11:00:09:53/' \"$conf\" "
        ">/tmp/another/etc/vzdump/pct.conf\n"
        'for each in "$dump"/vzdump-*.tar.zst; do '
        'tar --create --zstd --file="$each" -C /tmp/another .; done',
        expect=red("container-backup", "is of another container", "hostname another"),
    ),
    node_fault(
        "F81-hidden",
        "a change in the repository is hidden from git status",
        'git -C "$repository" update-index --assume-unchanged bin/phoenix; '
        "echo '# mine' >>\"$repository/bin/phoenix\"",
        expect=red("repository", "not the plan's: bin/phoenix"),
    ),
    node_fault(
        "F55-exit",
        "the install script ends before the plan's changes",
        "sed -i '/^set -e$/a exit 0' \"$install\"",
        expect=red(
            "script", "the install script ends with 'exit 0' before fuse-overlayfs is installed"
        ),
    ),
    node_fault(
        "F55-text",
        "the plan's changes in the install script stand in a here-document, and never run",
        "sed -i -e 's/^# --- Storage driver ---$/: <<LATER/' -e 's/^# --- Docker ---$/LATER/' "
        '"$install"',
        expect=red("script", "fuse-overlayfs is checked for 0 times"),
        also=("again",),
    ),
    node_fault(
        "F55-function",
        "a function of the install script replaces a command that its lines run",
        "sed -i 's/^# --- Checks ---$/inside() { :; }/' \"$install\"",
        expect=red("script", "the install script redefines inside"),
        also=("again",),
    ),
    node_fault(
        "F23-link",
        "the tunable is a link, and its target was written after the last load",
        'mv "$tunable" /root/nesting; ln -s /root/nesting "$tunable"; '
        'touch -h -d 2020-01-01 "$tunable"; touch /root/nesting',
        expect=red("reloaded", "AppArmor was last loaded", "before the tunable was written"),
    ),
    Fault(
        "F17-removed",
        "an audit rule hid why a unit failed, and has been removed",
        "auditctl -a always,exclude -F msgtype=AVC >/dev/null\n"
        f"printf '%s\\n' '[Service]' Type=oneshot 'ExecStart={_DENIED}' | "
        "unit denied.service; sleep 2; auditctl -d always,exclude -F msgtype=AVC >/dev/null",
        expect=undetermined(
            "units", "denied.service: no denial of its time is known", "left records out"
        ),
        also=("denials",),
    ),
    container_fault(
        "F17-again",
        "AppArmor makes a unit fail, and systemd restarts it forever: its state is never failed",
        f"printf '%s\\n' '[Service]' Restart=always RestartSec=120 'ExecStart={_DENIED}' | "
        "unit again.service; sleep 3",
        expect=red(
            "units",
            "1 unit(s) failed, each with a denial in its time: again.service",
            "network alg",
        ),
    ),
    Fault(
        "F21-complain",
        "the profile is in complain mode while the container boots, and then enforced again",
        meanwhile("apparmor_parser -r -K -C $file", "apparmor_parser -r -K $file").replace(
            "$file", PROFILE_PATH
        ),
        expect=undetermined("denials", "the profile lxc-phoenix-v2 was replaced in the window"),
    ),
    Fault(
        "F21-parameter",
        "AppArmor is told to record nothing while the container boots, and then to record again",
        meanwhile(
            "printf quiet >/sys/module/apparmor/parameters/audit",
            "printf normal >/sys/module/apparmor/parameters/audit",
        ),
        expect=undetermined("denials", "AppArmor was told in the window", "audit", "quiet"),
    ),
    Fault(
        "F21-ids",
        "the log leaves out the records of a user in the second range of the container's ids",
        "for each in u g; do printf 'lxc.idmap: %s\\n' \"$each 0 100000 1000\" "
        '"$each 1000 101000 64536" >>"$conf"; done; restart\n'
        "auditctl -a always,exclude -F msgtype=AVC -F uid=101001",
        expect=left_out("-F uid=101001"),
    ),
    node_fault(
        "F51-stops",
        "a second run stops a Docker container that runs",
        "inside docker run -d --name mine hello-world /hello wait >/dev/null; "
        "echo 'inside docker stop -t 0 mine >/dev/null' >>\"$install\"",
        expect=red("again", "a second run changed", "process of docker container mine", "exited"),
    ),
    node_fault(
        "F51-firewall",
        "a second run flushes the firewall rules of Docker's networks",
        "echo 'inside iptables -t nat -F' >>\"$install\"",
        expect=red("again", "a second run changed", "docker firewall"),
    ),
)
