"""``python -m proof.bench.files``: writes what ``scripts/bench --files`` measures."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TextIO

import click

#: How many different files the denials name.
_NAMES = 100
#: How many lines are written before the size of a log is looked at.
_LINES = 10_000
#: A configuration as pct writes it, with lines that people add.
_OPTIONS = """\
arch: amd64
cores: 2
features: nesting=1,keyctl=1,fuse=1
hostname: c{ctid}
memory: 2048
mp0: local-lvm:vm-{ctid}-disk-1,mp=/srv,size=8G
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:37:F6:C8,ip=dhcp,type=veth
onboot: 1
ostype: debian
{parent}rootfs: local-lvm:vm-{ctid}-disk-0,size=8G
{taken}swap: 512
unprivileged: 1
lxc.idmap: u 0 100000 65536
lxc.idmap: g 0 100000 44
lxc.idmap: g 44 44 1
lxc.idmap: g 45 100045 65491
lxc.mount.entry: /dev/fuse dev/fuse none bind,create=file 0 0
"""
#: What auditd writes besides denials.
_OTHERS = (
    (
        "type=SERVICE_START msg=audit({at}): pid=1 uid=0 auid=4294967295 ses=4294967295 "
        'subj=unconfined msg=\'unit=apt-daily comm="systemd" exe="/usr/lib/systemd/systemd" '
        'hostname=? addr=? terminal=? res=success\'\x1dUID="root" AUID="unset"\n'
    ),
    (
        "type=SYSCALL msg=audit({at}): arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c "
        'items=1 ppid=1 pid={pid} auid=0 uid=0 gid=0 comm="sshd" exe="/usr/sbin/sshd" '
        'subj=unconfined key=(null)\x1dARCH=x86_64 SYSCALL=openat AUID="root" UID="root"\n'
    ),
    (
        'type=AVC msg=audit({at}): apparmor="ALLOWED" operation="open" class="file" profile="man" '
        'name="/etc/manpath.config" pid={pid} comm="man" requested_mask="r" denied_mask="r" '
        "fsuid=0 ouid=0\n"
    ),
)
_DENIAL = (
    'type=AVC msg=audit({at}): apparmor="DENIED" operation="open" class="file" '
    'profile="lxc-phoenix-v2" name="/proc/sys/kernel/{name}" pid={pid} comm="cat" '
    'requested_mask="r" denied_mask="r" fsuid=100000 ouid=0\n'
)


@click.group()
def main() -> None:
    """Write configurations and logs."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("number", type=int)
def configurations(folder: Path, number: int) -> None:
    """Write NUMBER healthy configurations to FOLDER, each of a container with a snapshot."""
    folder.mkdir()
    for ctid in range(100, 100 + number):
        now = _OPTIONS.format(ctid=ctid, parent="parent: before\n", taken="")
        then = _OPTIONS.format(ctid=ctid, parent="", taken="snaptime: 1795532651\n")
        (folder / f"{ctid}.conf").write_text(f"{now}\n[before]\n{then}")


@main.command()
@click.argument("file", type=click.File("w", lazy=False))
@click.argument("mib", type=int)
@click.argument("one_in", type=int)
def log(file: TextIO, mib: int, one_in: int) -> None:
    """Write a log of MIB, in which one line in ONE_IN is a denial; print the number of denials."""
    for number in count():
        line = _OTHERS[number % len(_OTHERS)] if number % one_in else _DENIAL
        at = f"{1_795_717_106 + number // 50}.{number % 50 * 20:03}:{number}"
        name = number // one_in % _NAMES
        file.write(line.format(at=at, name=name, pid=1000 + number % 30_000))
        if not number % _LINES and file.tell() >= mib << 20:
            click.echo(number // one_in + 1)
            return


if __name__ == "__main__":
    main()
