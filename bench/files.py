"""Commands about files: a thousand configurations, a gigabyte of audit log; no lab is needed.

``grep`` is the measure of what reads a log. Both read the same file, in turn, three times each.
"""

from __future__ import annotations

import json
import tempfile
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import cost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.clock import Clock
    from bench.cost import Cost

#: How many configurations are linted, and how large the logs are (MiB).
CONFIGURATIONS, SMALL, LARGE = 1000, 64, 1024
#: One line in so many is a denial: of a healthy node, and of one where something is refused on and
#: on.
SPARSE, DENSE = 10_000, 10
_LOGS = {SPARSE: "1 line in 10,000 a denial", DENSE: "1 line in 10 a denial"}
#: A configuration as pct writes it, with a snapshot, and with lines that people add.
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
#: What auditd writes beside denials.
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
#: How many different files the denials name.
_NAMES = 100


def measure(
    clock: Clock,
    *,
    configurations: int = CONFIGURATIONS,
    small: int = SMALL,
    large: int = LARGE,
    times: int = 3,
) -> None:
    """Measure ``lint`` of many configurations, and ``denials`` of long logs beside ``grep``.

    Args:
        clock: is told the figures. Each is the median of several runs.
        configurations: how many are linted.
        small: the size of a log whose peak of memory is compared (MiB).
        large: the size of the log that is timed (MiB).
        times: how often each command is run.
    """
    with tempfile.TemporaryDirectory(prefix="bench-files-") as place:
        folder = Path(place)
        linted = f"lint of {configurations} configurations"
        clock.stage(linted, partial(_lint, clock, linted, folder / "lxc", configurations, times))
        for one_in in (SPARSE, DENSE):
            for size, runs in ((small, 1), (large, times)):
                what = f"{size} MiB, {_LOGS[one_in]}"
                number = write_log(folder / "audit.log", size, one_in)
                compared = partial(_compared, clock, what, folder / "audit.log", number)
                clock.stage(f"denials of {what}", partial(compared, runs))


def _lint(clock: Clock, what: str, folder: Path, number: int, times: int) -> float:
    configure(folder, number)
    found = cost.median([lint(folder, number) for _ in range(times)])
    clock.counts[f"{what}: processor seconds"] = round(found.processor, 2)
    return found.seconds


def _compared(clock: Clock, what: str, log: Path, number: int, times: int) -> float:
    """Time ``denials`` and ``grep``, in turn, on the same log."""
    both = [(denials(log, number), grep(log, number)) for _ in range(times)]
    read, searched = (cost.median(each) for each in zip(*both, strict=True))
    clock.say(f"grep of {what}", searched.seconds)
    clock.counts[f"denials of {what}: peak, MiB"] = round(read.peak, 1)
    clock.counts[f"denials of {what}: processor seconds"] = round(read.processor, 2)
    clock.counts[f"grep of {what}: processor seconds"] = round(searched.processor, 2)
    both_ways = {
        "seconds": read.seconds / searched.seconds,
        "processor seconds": read.processor / searched.processor,
    }
    for kind, ratio in both_ways.items():
        clock.counts[f"ratio denials / grep of {what}: {kind}"] = round(ratio, 2)
    return read.seconds


def configure(folder: Path, number: int) -> None:
    """Write so many healthy configurations, each of a container of its own with a snapshot."""
    folder.mkdir()
    for ctid in range(100, 100 + number):
        now = _OPTIONS.format(ctid=ctid, parent="parent: before\n", taken="")
        then = _OPTIONS.format(ctid=ctid, parent="", taken="snaptime: 1795532651\n")
        (folder / f"{ctid}.conf").write_text(f"{now}\n[before]\n{then}")


def lint(folder: Path, number: int) -> Cost:
    """Lint a folder of healthy configurations, and return what that took.

    Raises:
        ClickException: it did not lint all of them, or found anything.
    """
    done = cost.of(cost.ours("lint", str(folder)))
    if not done.said.startswith(f"no finding in {number} files:"):
        raise click.ClickException(f"lint of {number} configurations: {done.said[-500:]}")
    return done


def write_log(log: Path, size: int, one_in: int) -> int:
    """Write an audit log of at least so many MiB, and return how many denials it holds."""
    denied = 0
    with log.open("wb") as file:
        for piece, number in _pieces(one_in):
            file.write(piece.encode())
            denied += number
            if file.tell() >= size << 20:
                return denied
    raise AssertionError("pieces never end")


def _pieces(one_in: int) -> Iterator[tuple[str, int]]:
    """Yield about 2 MiB of a log for ever, each with the number of its denials."""
    others = "".join(
        _OTHERS[n % len(_OTHERS)].format(at=f"1795717106.0:{n}", pid=n) for n in range(1, one_in)
    )
    together = max(1, SPARSE // one_in)
    for begin in count(0, together):
        yield "".join(_denial(n) + others for n in range(begin, begin + together)), together


def _denial(number: int) -> str:
    at = f"{1_795_717_106 + number // 50}.{number % 50 * 20:03}:{number}"
    return _DENIAL.format(at=at, name=number % _NAMES, pid=1000 + number % 30_000)


def denials(log: Path, number: int) -> Cost:
    """Explain the denials of a log, and return what that took.

    Raises:
        ClickException: it did not count all of them.
    """
    done = cost.of(cost.ours("denials", str(log), "--format", "json"))
    _require(f"denials of {log}", json.loads(done.said)["total"], number)
    return done


def grep(log: Path, number: int) -> Cost:
    """Count the lines of a log that hold a denial with ``grep``, and return what that took.

    Raises:
        ClickException: it counted another number.
    """
    done = cost.of(["env", "LC_ALL=C", "grep", "-c", 'apparmor="DENIED"', str(log)])
    _require(f"grep of {log}", int(done.said), number)
    return done


def _require(what: str, counted: int, number: int) -> None:
    if counted != number:
        raise click.ClickException(f"{what}: {counted} denials were counted, and it holds {number}")
