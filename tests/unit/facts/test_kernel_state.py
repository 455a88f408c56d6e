"""The programs that read settings, modules, links, firewall, processes and flags, on trees of ours.

A change is one difference, and what a healthy machine does by itself is none.
"""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.machines.programs import program
from tests.doubles.samples import sample

STATE = program("docker_lxc_gate.facts", "kernel_state.pl")
RULES = sample("firewall/nft.txt")
SAVED = sample("firewall/iptables-save.txt")
ADDRESSES = r"""1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever
2: eth0    inet 10.0.3.5/24 brd 10.0.3.255 scope global dynamic eth0\       valid_lft 3555sec
2: eth0    inet6 fd00::2/64 scope global \       valid_lft forever preferred_lft forever
2: eth0    inet6 fe80::1/64 scope link \       valid_lft forever preferred_lft forever
"""
SHIM = "/usr/bin/containerd-shim-runc-v2\0-namespace\0moby\0-id\0{}\0"
#: A guest: files below proc and sys; what ip, nft and iptables-save print.
GUEST = {
    "proc/modules": "nf_tables 1 0 - Live 0x0\noverlay 1 0 - Live 0x0\n",
    "proc/sys/kernel/osrelease": "6.12\n",
    "proc/sys/kernel/random/uuid": "1\n",
    "proc/sys/vm/swappiness": "60\n",
    "proc/sys/net/ipv4/ip_forward": "1\n",
    "proc/sys/net/ipv4/conf/default/rp_filter": "2\n",
    "proc/sys/net/ipv4/conf/eth0/rp_filter": "2\n",
    "proc/sys/net/ipv6/neigh/lo/locktime": "0\n",
    "sys/class/net/eth0/flags": "0x1003\n",
    "sys/class/net/eth0/mtu": "1500\n",
    "sys/class/net/eth0/address": "bc:24:11:00:00:01\n",
    "sys/class/net/eth0/addr_assign_type": "3\n",
    "sys/class/net/br-0123456789ab/flags": "0x1003\n",
    "sys/class/net/br-0123456789ab/uevent": "DEVTYPE=bridge\nINTERFACE=br-0123456789ab\n",
    "bin/ip": ADDRESSES,
    "bin/nft": RULES,
    "routes": "default via 192.0.2.1 dev eth0\n10.0.3.0/24 dev eth0 proto kernel src 10.0.3.5\n",
    "sys/module/printk/parameters/time": "Y\n",
    "proc/sysvipc/sem": "key semid perms nsems uid gid\n 4660 1 600 5 0 0 0 0 1 1\n",
    "bin/systemctl": "LANG=C\n",
    "bin/auditctl": "-w /etc -p wa\n",
}


def process(
    pid: int, command: str, unit: str = "system.slice/x.service", parent: int = 1, exe: str = "x"
) -> dict[str, str]:
    """Return the files of a process."""
    return {
        f"proc/{pid}/stat": f"{pid} (a b) c) S {parent} 7 7 0\n",
        f"proc/{pid}/cmdline": command,
        f"proc/{pid}/cgroup": f"0::/{unit}\n",
        f"proc/{pid}/exe": exe,
    }


GUEST |= process(7, "/usr/sbin/dockerd\0-H\0fd://\0", "system.slice/docker.service")


def state(root: Path, files: dict[str, str | None]) -> dict[str, str]:
    """Return what the program says of a tree, as facts."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "proc/self/ns").mkdir(parents=True)
    for path, text in files.items():
        if text is None:
            continue
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        if path.startswith("bin/"):
            routes = f'case "$*" in "-4 route"*) exec cat {root}/routes ;; -[46]*) exit ;; esac\n'
            first = routes if path == "bin/ip" else ""
            (root / path).write_text(f"#!/bin/sh\n{first}cat <<'END'\n{text}END\n")
            (root / path).chmod(0o755)
        if path.endswith(("/exe", "/ns/user")):
            (root / path).unlink()
            (root / path).symlink_to(text)
    script = re.sub(r'(?<=[" ])/(proc|sys)(?=[/")])', rf"{root}/\1", STATE)
    said = subprocess.run(
        ["perl", "-e", script, "--", *map(str, sorted(root.glob("proc/[0-9]*")))],
        env={"PATH": f"{root}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stderr == ""
    facts = {}
    for part in said.stdout.split("\n== ")[1:]:
        kind, *rows = part.splitlines()
        for row in filter(None, rows):
            key, _, value = row.partition("\t")
            facts[f"{kind} {key}"] = f"{facts.get(f'{kind} {key}', '')}{value}\n"
    return facts


NODE = GUEST | {"proc/self/ns/user": "user:[4026531837]"}
ANOTHER = {
    "proc/sys/net/ipv4/conf/{0}/rp_filter": "2\n",
    "proc/sys/net/ipv6/neigh/{0}/locktime": "0\n",
    "sys/class/net/{0}/flags": "0x1003\n",
}
#: What Proxmox's firewall has for a guest, and Docker for a container, outside of its own chains.
GUESTS = """*filter
:veth951i0-IN - [0:0]
-A PVEFW-FWBR-IN -m physdev --physdev-out veth951i0 --physdev-is-bridged -j veth951i0-IN
-A veth951i0-IN -p tcp --dport 22 -j ACCEPT
"""
GUESTS_TABLE = """table bridge proxmox-firewall-guests {
\tmap vm-map-in {
\t\telements = { "veth951i0" : jump guest-951-in }
\t}
}
"""
DIRECT = "-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP\n"
NFT = {"bin/iptables-save": SAVED, "bin/ip6tables-save": "", "bin/nft": None}


@cache
def healthy(*, nft: bool) -> dict[str, str]:
    """Return what the program says of a machine with nft, or with iptables-save alone."""
    with TemporaryDirectory() as name:
        return state(Path(name), NODE | ({} if nft else NFT))


def link(name: str) -> dict[str, str]:
    return {path.format(name): text for path, text in ANOTHER.items()}


#: What a healthy machine does by itself, which is no difference.
BY_ITSELF: list[dict[str, str | None]] = [
    {"proc/sys/kernel/random/uuid": "2\n", "proc/sys/fs/file-nr": "7\n"},
    {"proc/sys/net/ipv4/tcp_fastopen_key": "secret\n"},
    {"sys/module/damon_stat/parameters/estimated_memory_bandwidth": "17252973\n"},
    link("veth0a1b2c3") | link("veth950i0") | link("vethQ7dZxe") | link("fwbr950i0"),
    {"bin/ip": ADDRESSES.replace("3555", "3600").replace("10.0.3.5/", "10.0.3.6/")},
    {"bin/ip": re.sub(".*dynamic.*\n", "", ADDRESSES)},
    {"routes": "default via 192.0.2.1 dev eth0\n10.0.9.0/24 dev eth0 proto kernel\n"},
    {"bin/nft": f"{RULES}table ip raw {{\n\tchain PREROUTING {{\n\t}}\n}}\n"},
    NFT | {"bin/iptables-save": f"{SAVED}*raw\n:PREROUTING ACCEPT [0:0]\n"},
    {"bin/ip": f"{ADDRESSES}2: eth0 inet6 fd00::9/64 scope global temporary dynamic \\\n"},
    {"sys/class/net/br-0123456789ab/address": "02:42:00:00:00:01\n"},
    {"bin/nft": RULES.replace("172.17.0.2", "172.17.0.3")},
    {"bin/nft": re.sub(r".*172\.17\.0\.2.*\n", "", RULES)},
    {"bin/nft": RULES.replace("sshd {", "apache {")},
    {
        "bin/nft": RULES.replace(
            '\t\tiifname "docker0"',
            '\t\tip6 daddr fd00::2 oifname "docker0" accept\n\t\tiifname "docker0"',
        )
    },
    NFT | {"bin/iptables-save": SAVED.replace("7:420", "8:500").replace("5:6", "0:0")},
    NFT | {"bin/iptables-save": re.sub(r".*172\.17\.0\.2.*\n", "", SAVED)},
    GUEST
    | process(9, "/usr/sbin/dockerd\0-H\0fd://\0", "system.slice/docker.service")
    | {f"proc/7/{each}": None for each in ("stat", "cmdline", "cgroup", "exe")},  # restarted
    process(8, "sleep\x001\0", parent=7),  # a worker, or a command of somebody who is logged in
    process(8, "", parent=1),  # ended, or the kernel's
    *(
        process(8, command, exe=exe)
        for command, exe in (
            (SHIM.format("0af9"), "/usr/bin/containerd-shim-runc-v2"),
            ("sshd: root@notty\0", "/usr/sbin/sshd (deleted)"),
            ("sshd-session: root [priv]\0", "/usr/lib/openssh/sshd-session"),
            ("/usr/bin/kvm\0-id\x00100\0", "/usr/bin/qemu-system-x86_64"),
            ("/usr/bin/conmon\0-c\0", "/usr/bin/conmon"),
            ("[lxc monitor] /var/lib/lxc 952\0", "/usr/bin/lxc-start"),
            ("task UPID:pve1:0012AB34:01C2D3E4:6926F0A1:vncshell::root@pam:", "/usr/bin/perl"),
        )
    ),
    process(8, "/usr/bin/python3\0/usr/lib/ubuntu/x\0", "system.slice/apt-news.service"),
    process(8, "/lib/systemd/systemd\0--user\0", "user.slice/user@0.service/init.scope"),
    process(8, "/usr/libexec/packagekitd\0", "system.slice/packagekit.service"),
    {"proc/modules": f"tcp_diag 1 0 - Live 0x0\n{GUEST['proc/modules']}"},
    NFT | {"bin/iptables-save": f"{SAVED}{GUESTS}"},
    NFT | {"bin/iptables-save": SAVED.replace("COMMIT\n", f"*raw\n{DIRECT}COMMIT\n")},
    {"bin/nft": f"{RULES}{GUESTS_TABLE}"},
]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"proc/sys/net/ipv4/ip_forward": "0\n"}, "sysctl net/ipv4/ip_forward"),
        ({"proc/modules": f"dummy 1 0 - Live 0x0\n{GUEST['proc/modules']}"}, "module dummy"),
        (link("dummy0"), "link dummy0"),
        ({"sys/class/net/eth0/address": "bc:24:11:00:00:02\n"}, "link eth0"),
        ({"bin/ip": ADDRESSES.replace("dynamic ", "")}, "address eth0 inet"),
        (
            {"routes": f"{GUEST['routes']}198.51.100.0/24 dev lo\n"},
            "route 4 198.51.100.0/24 dev lo",
        ),
        ({"sys/module/printk/parameters/time": "N\n"}, "parameter printk/time"),
        ({"proc/sysvipc/sem": "key\n 4661 1 600 5 0 0\n"}, "ipc sem"),
        ({"bin/systemctl": "LANG=C\nLEFT=1\n"}, "environment LEFT"),
        ({"bin/auditctl": "-w /etc -p w\n"}, "audit -w /etc"),
        ({"bin/nft": f"{RULES}table inet mine {{\n\tchain x {{\n\t}}\n}}\n"}, "inet mine "),
        ({"bin/nft": RULES.replace("22 accept", "22 drop")}, "firewall inet filter input"),
        ({"bin/nft": re.sub(r"(.*22.*\n)(.*80 a.*\n)", r"\2\1", RULES)}, "inet filter input"),
        ({"bin/nft": RULES.replace("input priority filter; policy accept", "x")}, "filter input"),
        ({"bin/nft": re.sub(".*return\n", "", RULES)}, "firewall Docker's ip nat"),
        (NFT | {"bin/iptables-save": SAVED.replace("INPUT ACCEPT", "INPUT DROP")}, "filter INPUT"),
        (NFT | {"bin/iptables-save": SAVED.replace("-i docker0 ", "")}, "Docker's ip nat"),
        (
            NFT | {"bin/iptables-save": f"{SAVED}-A DOCKER-USER -s 192.0.2.1/32 -j DROP\n"},
            "firewall ip filter DOCKER-USER",
        ),
        *(
            (NFT | {"bin/iptables-save": f"{SAVED}-A {rule}\n"}, f"firewall ip filter {named}")
            for rule, named in (
                ("INPUT -i veth950i0 -j ACCEPT", "INPUT"),
                ("FORWARD -i docker0 -p tcp --dport 22 -j ACCEPT", "FORWARD"),
                ("MY-DOCKER -j ACCEPT", "MY-DOCKER"),
                ("PREROUTING -d 192.0.2.1/32 -j DROP", "PREROUTING"),
            )
        ),
        ({"bin/nft": RULES.replace("22 accept", '22 iifname "veth1i0" accept')}, "filter input"),
        *(
            (process(8, command, exe=exe), f"running x.service {name}")
            for command, exe, name in (
                ("sshd: root@notty\0", "/home/sshd", "sshd:"),
                ("[lxc monitor] /var/lib/lxc 952\0", "/usr/bin/sleep", "[lxc"),
                ("task UPID:sleep\0", "/usr/bin/perl", "task"),
            )
        ),
        (process(8, "x\0", "system.slice/polkit.mine.service"), "running polkit.mine.service x"),
        ({"proc/modules": f"my_diag 1 0 - Live 0x0\n{GUEST['proc/modules']}"}, "module my_diag"),
        (process(8, "sleep\x001\0", ".lxc"), "running no unit sleep"),
        (process(8, "sleep\x001\0", "system.slice/run-u7.service"), "running run.service sleep"),
        (process(8, "/usr/sbin/dockerd\0-H\0fd://\0", "docker.service"), "docker.service dockerd"),
        *((change, "") for change in BY_ITSELF),
    ],
)
def test_kernel_state_of_a_change_names_it_and_nothing_else(
    change: dict[str, str | None], named: str, tmp_path: Path
) -> None:
    was, now = healthy(nft="bin/iptables-save" not in change), state(tmp_path, NODE | change)
    found = machine_state.differences(was, now)
    assert bool(found) is bool(named), was
    assert [line for line in found if named not in line] == []


def test_kernel_state_of_a_guest_has_its_own_settings_and_no_modules(tmp_path: Path) -> None:
    facts = state(tmp_path / "t", GUEST)
    assert facts["sysctl net/ipv4/ip_forward"] == "1\n"
    assert "sysctl vm/swappiness" not in facts
    assert not [key for key in facts if key.startswith("module ")]


@pytest.mark.parametrize("modules", ["overlay 1 0 - Live 0x0\n", GUEST["proc/modules"]])
def test_kernel_state_without_a_tool_says_so_and_loads_none(modules: str, tmp_path: Path) -> None:
    """Whoever lists rules loads nf_tables: it is not asked where it is not loaded."""
    loaded = "nf_tables" in modules
    tools = {"bin/ip": None, "bin/nft": RULES, "proc/modules": modules}
    facts = state(tmp_path / "t", NODE | tools)
    assert bool([key for key in facts if key.startswith("firewall ")]) is loaded
    facts = state(tmp_path / "t", NODE | tools | {"bin/nft": None})
    assert ("firewall not seen" in facts) is not shutil.which("iptables-save")
    assert "iproute2" in machine_state.not_seen(facts) or shutil.which("ip")


def test_listed_files_with_flags_are_named(tmp_path: Path) -> None:
    """The names are find's, byte by byte; flags need a file system that has them, and its root."""
    kept, odd = tmp_path / "kept", os.fsencode(tmp_path) + b"/\xff odd"
    kept.touch()
    open(odd, "wb").close()  # noqa: PTH123 - no UTF-8
    argv = [
        "perl",
        "-e",
        program("docker_lxc_gate.facts", "files.pl"),
        "list",
        os.fsencode(tmp_path),
    ]
    (tmp_path / "one\n== files\nshadow\td 755 two").symlink_to("a\n/b\tf 600")
    argv += ["-printf", r"%p\0%y %m %U:%G %s %l|%T@ %i\0"]
    changed = subprocess.run(["chattr", "+i", kept], check=False, capture_output=True).returncode
    try:
        said = subprocess.run(argv, check=True, capture_output=True).stdout
    finally:
        subprocess.run(["chattr", "-i", kept], check=False, capture_output=True)
    files, _, flags = said.partition(b"\n\n== flags\n")
    assert b"/\xff odd\tf " in files
    assert rb"/one\n== files\nshadow\td 755 two" + b"\tl 777 " in files
    assert rb" a\n/b\tf 600|" in files
    assert files.count(b"\n") == 3
    assert flags == (b"" if changed else b"%s\ti\n" % os.fsencode(kept))
    assert subprocess.run([*argv[:4], "/absent"], check=False, capture_output=True).returncode == 9
