"""A Proxmox node with container 950 as the plan leaves them, behind one connection.

As a pytest plugin (``-p tests.doubles.nodes.healthy``) it stands where SSH would, so the gate
itself can be run on it, with ``HEALTHY_CONTAINERS`` containers if that is set. At the end it
writes what was asked to the file that ``HEALTHY_SEEN`` names, as JSON.
"""

import functools
import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from docker_lxc_gate.formats.container_config import LXC_REFUSES
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.ssh import connection
from remediation import desired, phoenix
from remediation.edits.daemon_json import daemon_json
from remediation.phoenix.description import described
from remediation.phoenix.scripts import install_script, setup_script
from tests.doubles.apparmor.denials import canary
from tests.doubles.nodes.behind_shell import Answer, Node
from tests.doubles.samples import PHOENIX

PID = 4242
_CONF = f"""arch: amd64
ostype: debian
features: nesting=1,keyctl=1,fuse=1
hostname: docker
rootfs: local:950/vm-950-disk-0.raw,size=8G
unprivileged: 1
lxc.apparmor.profile: {desired.PROFILE}
"""
_CALLS = "/var/lib/lxc/950/rules.seccomp"
_INCLUDED = "/usr/share/lxc/config/common.conf"
_EFFECTIVE = f"""lxc.include = {_INCLUDED}
lxc.idmap = u 0 100000 65536
lxc.idmap = g 0 100000 65536
lxc.seccomp.profile = {_CALLS}
lxc.apparmor.profile = {desired.PROFILE}
lxc.mount.auto = sys:mixed
lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file 0 0
"""
#: As LXC mounts them for ``proc:mixed sys:mixed``.
MOUNTS = """500 400 7:0 / / rw,relatime - ext4 /dev/loop0 rw
501 500 0:80 / /proc rw,nosuid,nodev,noexec - proc proc rw
502 501 0:80 /sys /proc/sys ro,nosuid,nodev,noexec - proc proc rw
503 502 0:80 /sys/net /proc/sys/net rw,nosuid,nodev,noexec - proc proc rw
504 500 0:81 / /sys ro,nosuid,nodev,noexec - sysfs sysfs rw
"""
_POLICY = hashlib.sha256(b"policy").hexdigest()
_PLACE = f"/sys/kernel/security/apparmor/policy/profiles/{desired.PROFILE}.7"
_DUMP = "/var/lib/vz/dump"
_ARCHIVE = f"{_DUMP}/vzdump-lxc-950-2026_11_27-01_00_00.tar.zst"
_ETC = f"{_DUMP}/etc-pve1-2026_11_27-01_00_00.tar.zst"
_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_ENGINE = {"Driver": "fuse-overlayfs", "ServerVersion": "26.1.5", "ID": "engine"}


@functools.cache
def files() -> dict[str, bytes]:
    """Return the files of the node and the container, by path."""
    repository = phoenix.REPOSITORY

    def ours(path: str) -> bytes:
        return (PHOENIX / path).read_bytes()

    profile = desired.profile()
    return {
        desired.TUNABLE_PATH: desired.TUNABLE,
        desired.PROFILE_PATH: profile,
        f"{repository}/{phoenix.PROFILE}": profile,
        f"{repository}/{phoenix.SETUP_SCRIPT}": setup_script(ours(phoenix.SETUP_SCRIPT)),
        f"{repository}/{phoenix.INSTALL_SCRIPT}": install_script(ours(phoenix.INSTALL_SCRIPT)),
        f"{repository}/{phoenix.CONTAINERS}": described(ours(phoenix.CONTAINERS), 950),
        "/etc/pve/lxc/950.conf": _CONF.encode(),
        "/var/lib/lxc/950/config": _EFFECTIVE.encode(),
        "/sys/kernel/security/apparmor/profiles": f"{desired.PROFILE} (enforce)\n".encode(),
        f"/proc/{PID}/attr/apparmor/current": f"{desired.PROFILE} (enforce)\n".encode(),
        f"{_PLACE}/attach": f"{desired.PROFILE}\n".encode(),
        _CALLS: "\n".join(["2", "denylist", *LXC_REFUSES]).encode(),
        f"/proc/{PID}/mountinfo": MOUNTS.encode(),
        f"{_DUMP}/vzdump-lxc-950-2026_11_27-01_00_00.log": b"INFO: Finished Backup of VM 950\n",
        desired.DAEMON_JSON: daemon_json(b'{"log-level": "warn"}'),
    }


class Healthy(Node):
    """See the module; it logs the denials that are provoked."""

    def __init__(self, *_: object, name: str = "", **__: object) -> None:
        super().__init__(dict(files()), dict(_SAYS))
        self.machine = name or "pve1"
        self._log, self._inside = "", False
        self.says = {
            "perl canary": self._provoked,
            "perl state": "lost 0\nreader 383\nprocess S auditd\n",
            "grep -asqF": lambda words: "" if words[2] in self._log else (1, "", ""),
            **self.says,
        }

    def _asked(self, argv: list[str], stdin: bytes) -> CommandResult:
        self._inside = "lxc-attach" in argv[:16]
        if argv[-1].startswith("/run/docker-lxc-gate."):
            self.files[argv[-1]] = self._log.encode()
        return super()._asked(argv, stdin)

    def _provoked(self, words: list[str]) -> Answer:
        self._log += f"{canary(words[4])}\n"
        return "refused: No such file or directory\n"

    def _answer(self, argv: list[str], stdin: bytes) -> tuple[int, bytes, bytes]:
        if not self._inside and argv[-1].endswith("-W fuse-overlayfs"):
            return 1, b"", b"no packages found"
        return super()._answer(argv, stdin)


#: The double's container and its first process; those of several have three digits more.
_OURS = re.compile(r"\b(950|4242)(\d{3})\b")
_DOUBLES = re.compile(rb"\b(950|4242)\b")


class Several(Healthy):
    """The same node with several containers: 950001, 950002 …"""

    def __init__(self, containers: int, name: str = "") -> None:
        super().__init__(name=name)
        self.containers = [b"%03d" % number for number in range(1, 1 + containers)]
        self.says = {
            "find /etc/pve/lxc/100.conf": (1, "", "No such file or directory"),
            "sh -c 'printf": "/etc/pve/lxc/950.conf\n",
            "perl 4242 /usr/bin/dockerd": "",  # whether there is Docker
            "perl -MIO::Handle": "noting\n",
            "echo": lambda words: f"{words[1]}\n",
            **self.says,
        }

    def _answer(self, argv: list[str], stdin: bytes) -> tuple[int, bytes, bytes]:
        """Let the double answer for its one container, and put the asked one's name in."""
        named = _OURS.search(" ".join(argv))
        code, out, err = super()._answer([_OURS.sub(r"\1", word) for word in argv], stdin)
        if named:
            return code, _DOUBLES.sub(rb"\g<1>" + named[2].encode(), out), err
        # Of the node: a line for each container.
        out = b"".join(
            _DOUBLES.sub(rb"\g<1>" + number, line)
            for line in out.splitlines(keepends=True)
            for number in (self.containers if _DOUBLES.search(line) else [b""])
        )
        return code, out, err


def _shell(words: list[str]) -> Answer:
    """Answer testinfra's questions about a file."""
    line = words[2]
    if found := re.fullmatch(r"(test -e|cat --|sha256sum) (\S+)(?: \| cut .*)?", line):
        content = files().get(found[2])
        if content is None:
            return 1, "", "No such file or directory"
        if found[1].startswith("sha256sum"):
            return f"{hashlib.sha256(content).hexdigest()}\n"
        return content if found[1] == "cat --" else ""
    for start, answer in _LINES.items():
        if line.startswith(start):
            return answer
    return 127, "", f"nobody said what {line} answers"


#: What testinfra asks, by the beginning of its line.
_LINES: dict[str, Answer] = {
    "grep -aH": re.sub("(?m)^", "/etc/pve/lxc/950.conf:", _CONF.rstrip()) + "\n",
    "uname -s": "Linux\n",
    "uname -m": "x86_64\n",
    "cat /etc/os-release": 'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n',
    "command -v pct": "/usr/sbin/pct\n",
    "command -v": "/usr/bin/found\n",
    "test -d /run/systemd/system/": "",
    "systemctl is-active docker": "active\n",
    "systemctl is-enabled docker.service": "enabled\n",
    "dpkg-query -f '${Status}' -W docker.io": "install ok installed",
    "dpkg-query -f '${Status}' -W dpkg": "install ok installed",
    "dpkg-query -f '${Status} ${Version}' -W fuse-overlayfs": "install ok installed 1.14",
    "dpkg-query -f '${Status}' -W fuse-overlayfs": "install ok installed",
    "dpkg-query -f '${Status} ${Version}' -W docker.io": "install ok installed 26.1.5",
    "dpkg-query -f": (1, "", "no packages found"),
    "systemctl is-active -q docker || exit 3": "fuse-overlayfs\n",
}


#: By a word of the program's text.
_OF_PROGRAMS: dict[str, Answer] = {
    "gid_map": "0 100000 65536\n==\n0 100000 65536\n",
    "cgroup.threads": (
        f"/proc/{PID}/comm:systemd\n/proc/{PID}/attr/current:{desired.PROFILE} (enforce)\n"
        f"/proc/{PID}/status:Seccomp:\t2\nalive {PID}\n"
    ),
    "gate-attempt": "firmware 13 0\nmount 13 0\nnetwork 13 0\nprofile 13 0\n",
}


def _perl(words: list[str]) -> Answer:
    """Answer a program that looks from the node: what it is, its arguments and text tell."""
    program, arguments = words[words.index("-e") + 1], words[words.index("-e") + 2 :]
    if arguments[1:] == ["/dev/fuse"]:
        return "20000 10 229\n"
    if "/run/docker.sock" in arguments:
        return f"4243 {b'dockerd'.hex()}\nHTTP/1.0 200 OK\r\n\r\n{json.dumps(_ENGINE)}"
    if arguments[1:] == ["find"]:
        return '4243 4242 1 ["/usr/sbin/dockerd", "-H", "fd://"]\n'
    for word, answer in _OF_PROGRAMS.items():
        if word in program:
            return answer
    return 127, "", "an unknown program"


def _kernel(words: list[str]) -> Answer:
    return f"{_PLACE}\n" if "-name" in words else f"{_PLACE}/raw_sha256:{_POLICY}\n"


def _archives(_: list[str]) -> Answer:
    now, archives = int(time.time()), (_ARCHIVE, _ETC)
    found = "".join(f"4096 {now - 60} {path}\n" for path in archives)
    return f"{now}\npve1\netc/pve/lxc\n\n{found}"


_SAYS: dict[str, Answer | Callable[[list[str]], Answer]] = {
    "id -u": "0\n",
    "uname -r": "6.14\n",
    "find /etc/pve/lxc/950.conf -exec lxc-info": "RUNNING\n",
    "find /sys/kernel/security": _kernel,
    "find -L": f"{_INCLUDED}\0lxc.tty.max = 4\n",
    "test -d": "",
    "findmnt -no": "ext4\n",
    "dpkg-query -W -f '${Package} ${Version}": "docker.io 26.1.5\n",
    "dpkg-query -W -f '${Package} ${db:Status-Abbrev}": "fuse-overlayfs ii \ndocker.io ii \n",
    "apparmor_parser -S": b"policy",
    "apparmor_parser -N": f"{desired.PROFILE}\n",
    "systemctl is-enabled": "enabled\n",
    "systemctl show apparmor -p ExecStart": "ExecStart={ path=/lib/apparmor/apparmor.systemd ; }\n",
    "sh next-boot": "Id=system.slice\nLoadState=loaded\n",
    "sh next-load": "1\n",
    "systemctl show apparmor": "Thu 1970-01-01 00:33:21.500000 UTC\n",
    "systemctl show docker": (
        "ExecStart={ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// ; x }\n"
        "NeedDaemonReload=no\n"
    ),
    "systemctl is-system-running": "running\n",
    "systemctl list-units": "",
    "journalctl -u apparmor": (
        "2000.500000 pve1 systemd[1]: Reloading apparmor.service\n"
        "2001.500000 pve1 systemd[1]: Reloaded apparmor.service\n"
    ),
    "lxc-info -P /var/lib/lxc -n 950 -p": f"{PID}\n",
    "lxc-info -P /var/lib/lxc -n 950 -s": "RUNNING\n",
    "stat -L -c '%.6Y %.6W'": "1000.000000 900.000000\n",
    "docker info": json.dumps(_ENGINE),
    "/usr/sbin/dockerd": "configuration OK\n",
    "bash -n": "",
    "lxc-ls -P /var/lib/lxc --active": "950\n",
    "sh owner": lambda words: files()["/".join(words[4:6])],
    "sh control": "755\n",
    "sh changed": "",
    "sh storages": f"local dir active {_DUMP}\n",
    "sh find": _archives,
    "sh list": "20000\n",
    "sh configuration": _CONF,
    "sh name": "pve1\n",
    "sh status": (f"# branch.oid {_COMMIT}\0# branch.head main\0# branch.upstream origin/main\0"),
    "sh upstream": f"{_COMMIT}\trefs/heads/main\n",
    "sh cgroups": f"/proc/{PID}/cgroup:0::/lxc/950/init.scope\n",
    "sh template": '{"log-level": "warn"}',
    "sh room": "9999999999 99999999999 /var/log\n75\n",
    "sh lock": "",
    "sh fuse": "",
    "perl": _perl,
    "sh -c": _shell,
}


def pytest_configure(config: pytest.Config) -> None:
    """Let every connection be one to this double."""
    made: list[Healthy] = []

    def connected(*_: object, **__: object) -> Healthy:
        count = int(os.environ.get("HEALTHY_CONTAINERS", "0"))
        made.append(Several(count, "pve1") if count else Healthy(name="pve1"))
        return made[-1]

    connection.Ssh = connected  # type: ignore[assignment, misc]

    def seen() -> None:
        told = {
            "trips": [trip for each in made for trip in each.trips],
            "unknown": [command for each in made for command in each.unknown],
            "starts": sum(each.starts for each in made),
        }
        Path(os.environ["HEALTHY_SEEN"]).write_text(json.dumps(told))

    config.add_cleanup(seen)
