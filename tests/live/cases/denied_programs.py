"""Programs that AppArmor denies something, each tried once: this file runs on the lab's node.

``python3 - PROFILE [CONTAINER-INIT-PID] <denied_programs.py`` tries each in a child and prints its
name and its errno. It needs nothing but Python. A program is a generator: what it does before its
first ``yield`` it does unconfined; a ``yield`` enters the profile, or the one that it names; what
it does then is what is tried. /mnt is an empty file system of its own there.

Sources: mount(2), mount_setattr(2), ptrace(2), io_uring(7), kernel include/uapi/linux/io_uring.h.
"""

import ctypes
import fcntl
import mmap
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

Program = Callable[[], Iterator[str | None]]

PROFILE = sys.argv[1] if len(sys.argv) > 1 else ""
INIT = int(sys.argv[2]) if len(sys.argv) > 2 else 0
#: Another profile that allows everything, and those that only a name is needed of.
OTHER, ENTERED, STACKED, STRICT, ABSENT = (
    f"{PROFILE}-{word}" for word in ("other", "entered", "stacked", "strict", "absent")
)
#: Stays unconfined.
HERE = "unconfined"
#: Where no file may be used, where files may be read, and where everything may be done.
NONE, READ, FREE = Path("/mnt/none"), Path("/mnt/read"), Path("/mnt/free")
POLICY = Path("/sys/kernel/security/apparmor")
#: No program's own errno: the attempt itself went wrong.
BROKEN = 200
PATIENCE = 60
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
PR_SET_DUMPABLE, PR_SET_NAME = 4, 15
_LIBC = ctypes.CDLL(None, use_errno=True)
_PROC = os.open("/proc", os.O_PATH)
PROGRAMS: dict[str, Program] = {}


def program(tried: Program) -> Program:
    """Add it to those that are tried."""
    PROGRAMS[tried.__name__.rstrip("_")] = tried
    return tried


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library; raises OSError."""
    result: int = getattr(_LIBC, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def write_attribute(name: str, said: str) -> None:
    """Ask AppArmor for another label of this process."""
    place = os.open(f"self/attr/apparmor/{name}", os.O_WRONLY, dir_fd=_PROC)
    try:
        os.write(place, said.encode())
    finally:
        os.close(place)


def enter(profile: str) -> None:
    write_attribute("current", f"changeprofile {profile}")


def mount(source: str, place: Path, sort: str, flags: int, data: str = "") -> None:
    words = [word.encode() for word in (source, str(place), sort)]
    call("mount", *words, ctypes.c_ulong(flags), data.encode())


def directory(name: str) -> Path:
    """Return a new directory where mounts are not allowed."""
    place = NONE / name
    place.mkdir()
    return place


def mounted(name: str) -> Path:
    """Return a new directory with a file system of its own."""
    place = directory(name)
    mount("proof", place, "tmpfs", 0)
    return place


def file(place: Path, content: str = "x") -> Path:
    place.write_text(content)
    return place


def executable(name: str) -> Path:
    place = READ / name
    place.write_bytes(Path("/bin/true").read_bytes())
    place.chmod(0o755)
    return place


def run_program(place: Path) -> None:
    os.execv(place, [str(place)])  # noqa: S606


def owned(place: Path, user: int) -> Path:
    os.chown(place, user, user)
    return place


def nothing() -> None:
    """Make nothing before."""


def sleeper(profile: str = "") -> int:
    """Return a process that lives as long as this one, under a profile if one is named."""
    ready, told = os.pipe()
    alive, _held = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(_held)
        if profile:
            enter(profile)
        os.write(told, b"x")
        os.read(alive, 1)
        os._exit(0)
    os.read(ready, 1)
    return pid


# --- mounts ---

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 32
MS_BIND, MS_REC, MS_UNBINDABLE, MS_PRIVATE = (1 << bit for bit in (12, 14, 17, 18))
SYS_PIVOT_ROOT, SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 155, 430, 431, 432
FSCONFIG_CMD_CREATE = 6


def detached() -> int:
    """Return a new file system that has no place yet."""
    context = call("syscall", SYS_FSOPEN, b"tmpfs", 0)
    call("syscall", SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0)
    return call("syscall", SYS_FSMOUNT, context, 0, 0)


@program
def mount_rbind() -> Iterator[str | None]:
    source, place = directory("mount_rbind-source"), directory("mount_rbind")
    yield None
    mount(str(source), place, "", MS_BIND | MS_REC)


@program
def pivotroot() -> Iterator[str | None]:
    place = mounted("root")
    (place / "old").mkdir()
    yield None
    call("syscall", SYS_PIVOT_ROOT, str(place).encode(), str(place / "old").encode())


# --- other processes ---

PTRACE_ATTACH, PTRACE_DETACH = 16, 17


def trace(pid: int) -> None:
    call("ptrace", PTRACE_ATTACH, pid, None, None)
    os.waitpid(pid, 0)
    call("ptrace", PTRACE_DETACH, pid, None, None)


def read_of(pid: int) -> None:
    os.readlink(f"{pid}/cwd", dir_fd=_PROC)


# --- capabilities, limits, namespaces, profiles ---


def compiled() -> bytes:
    text = f"profile {PROFILE}-loaded {{\n}}\n"
    argv = ["apparmor_parser", "--skip-cache", "--stdout", "--skip-kernel-load"]
    return subprocess.run(argv, input=text.encode(), capture_output=True, check=True).stdout


def load(place: str, blob: bytes) -> None:
    os.write(os.open(POLICY / place, os.O_WRONLY), blob)
    os.write(os.open(POLICY / ".remove", os.O_WRONLY), f"{PROFILE}-loaded".encode())


# --- files ---


@program
def file_lock() -> Iterator[str | None]:
    place = os.open(file(READ / "locked"), os.O_RDONLY)
    os.close(place)
    yield None
    place = os.open(READ / "locked", os.O_RDONLY)
    fcntl.flock(place, fcntl.LOCK_SH)


# --- io_uring ---

SYS_URING_SETUP, URING_SQPOLL = 425, 2


def ring(flags: int) -> int:
    """Return a new ring."""
    told = ctypes.create_string_buffer(120)
    struct.pack_into("I", told, 8, flags)
    return call("syscall", SYS_URING_SETUP, 4, told)


# --- those of one kind, by what they do ---

#: Each by one call: what is made before, unconfined; the call on that; the profile, if another.
TRIED: dict[str, tuple[Callable[[], Any], Callable[[Any], object]] | tuple[Any, Any, str]] = {
    "mount_new": (
        lambda: directory("new"),
        lambda place: mount("proof", place, "tmpfs", MS_NOSUID | MS_NODEV),
    ),
    "mount_odd": (lambda: directory('a b,c*[d]"é'), lambda place: mount("a b", place, "tmpfs", 0)),
    "umount": (lambda: mounted("unmounted"), lambda place: call("umount2", str(place).encode(), 0)),
    "ptrace_trace": (sleeper, trace),
    "ptrace_readby": (lambda: sleeper(PROFILE), read_of, OTHER),
    "signal_receive": (lambda: sleeper(PROFILE), lambda pid: os.kill(pid, signal.SIGTERM), HERE),
    "capable": (nothing, lambda _: os.chroot("/")),
    "setrlimit": (nothing, lambda _: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))),
    "userns_create": (nothing, lambda _: call("unshare", CLONE_NEWUSER)),
    "change_profile": (nothing, lambda _: enter(ENTERED)),
    "change_onexec": (nothing, lambda _: write_attribute("exec", f"exec {OTHER}")),
    "no_label": (nothing, lambda _: write_attribute("exec", f"exec {ABSENT}")),
    "stack": (nothing, lambda _: write_attribute("current", f"stack {STACKED}")),
    "profile_load": (compiled, lambda blob: load(".load", blob)),
    "open_not_owned": (
        lambda: owned(file(NONE / "another"), 1000),
        lambda place: os.open(place, os.O_RDWR),
    ),
    "open_odd": (
        lambda: file(NONE / 'a b,c*[d]\\{é}"^#@x'),
        lambda place: os.open(place, os.O_RDONLY),
    ),
    "link": (lambda: file(FREE / "target"), lambda target: os.link(target, NONE / "link")),
    "rename_src": (lambda: file(NONE / "renamed"), lambda place: place.rename(FREE / "renamed-to")),
    "file_mmap": (
        lambda: file(READ / "mapped", "x" * 4096),
        lambda place: mmap.mmap(
            os.open(place, os.O_RDONLY), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC
        ),
    ),
    "exec": (lambda: executable("program"), run_program),
    "px_to_nothing": (lambda: executable("sent-elsewhere"), run_program),
    "disconnected": (
        detached,
        lambda made: os.open("x", os.O_WRONLY | os.O_CREAT, dir_fd=made),
        STRICT,
    ),
    "sock_create": (nothing, lambda _: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)),
    "sock_bind": (
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        lambda made: made.bind(("127.0.0.1", 0)),
    ),
    "sock_getname": (
        lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        lambda made: made.getsockname(),
    ),
    "uring_sqpoll": (nothing, lambda _: ring(URING_SQPOLL)),
}
#: To a mount that is there.
CHANGED = {
    "mount_runbind": MS_UNBINDABLE | MS_REC,
    "remount_bind": MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID,
}
SENT = {"signal_realtime": signal.SIGRTMIN + 3, "signal_exists": 0}
#: With a file that is there; with a path that is not.
USED: dict[str, Callable[[Path], object]] = {
    "open_append": lambda place: os.open(place, os.O_WRONLY | os.O_APPEND),
    "chmod": lambda place: place.chmod(0o600),
    "sysrq-trigger": lambda place: os.open(place, os.O_RDONLY),
}
MADE: dict[str, Callable[[Path], object]] = {
    "mknod": os.mkfifo,
    "mkdir": lambda place: place.mkdir(),
}


def by_one_call(
    before: Callable[[], Any], act: Callable[[Any], object], profile: str | None = None
) -> Iterator[str | None]:
    made = before()
    yield profile
    act(made)


def added(name: str, before: Callable[[], Any], act: Callable[[Any], object], *more: str) -> None:
    PROGRAMS[name] = partial(by_one_call, before, act, *more)


def change(flags: int, place: Path) -> None:
    mount("proof", place, "tmpfs", flags)


def send(number: int, pid: int) -> None:
    os.kill(pid, number)


for name, tried in TRIED.items():
    added(name, *tried)
for name, flags in CHANGED.items():
    added(name, partial(mounted, name), partial(change, flags))
for name, number in SENT.items():
    added(name, sleeper, partial(send, number))
for name, how in USED.items():
    added(name, partial(file, NONE / name), how)
for name, how in MADE.items():
    added(name, partial(Path, NONE / name), how)


# --- how they are run ---


def run(name: str) -> NoReturn:
    """Run a program to its end, in a mount namespace of its own, and exit with its errno."""
    signal.alarm(PATIENCE)
    if INIT:
        for kind in ("user", "mnt", "ipc", "net"):
            call("setns", os.open(f"{INIT}/ns/{kind}", os.O_RDONLY, dir_fd=_PROC), 0)
        os.setgid(0)
        os.setuid(0)
        call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # so that its own children may trace it
    call("unshare", CLONE_NEWNS)
    mount("", Path("/"), "", MS_PRIVATE | MS_REC)
    mount("proof", Path("/mnt"), "tmpfs", 0)
    for place in (NONE, READ, FREE):
        place.mkdir()
    call("prctl", PR_SET_NAME, name.encode())
    tried = PROGRAMS[name]()
    entered = next(tried, "")
    try:
        while True:
            if entered != HERE:
                enter(entered or PROFILE)
            entered = next(tried)
    except StopIteration:
        os._exit(0)
    except OSError as error:
        os._exit(error.errno or BROKEN)


def main() -> None:
    """Try each program, and print how it ended."""
    for name in sys.argv[3:] or PROGRAMS:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                run(name)
            except Exception:  # noqa: BLE001 - shown
                traceback.print_exc()
            os._exit(BROKEN)
        _, status = os.waitpid(pid, 0)
        print(name, pid, os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
