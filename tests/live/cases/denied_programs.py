"""Programs that AppArmor denies something, each tried once: this file runs on the lab's node.

``python3 - PROFILE [CONTAINER-INIT-PID] <denied_programs.py`` tries each in a child and prints its
name and its errno. It needs nothing but Python. A program is a generator: what it does before its
first ``yield`` it does unconfined; a ``yield`` enters the profile, or the one that it names; what
it does then is what is tried. /mnt is an empty file system of its own there.

Sources: mount(2), mount_setattr(2), ptrace(2), io_uring(7), kernel include/uapi/linux/io_uring.h.
"""

from __future__ import annotations

import array
import ctypes
import errno
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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_NO_NEW_PRIVS = 4, 15, 38
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
MS_BIND, MS_MOVE, MS_REC, MS_UNBINDABLE, MS_PRIVATE = (1 << bit for bit in (12, 13, 14, 17, 18))
SYS_PIVOT_ROOT, SYS_MOVE_MOUNT, SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 155, 429, 430, 431, 432
AT_FDCWD, FSCONFIG_CMD_CREATE, MOVE_MOUNT_F_EMPTY_PATH = -100, 6, 4


@program
def mount_new() -> Iterator[str | None]:
    place = directory("new")
    yield None
    mount("proof", place, "tmpfs", MS_NOSUID | MS_NODEV)


@program
def mount_odd() -> Iterator[str | None]:
    place = directory('a b,c*[d]"é')
    yield None
    mount("a b", place, "tmpfs", 0)


@program
def mount_move() -> Iterator[str | None]:
    source, place = mounted("moved"), directory("moved-to")
    yield None
    mount(str(source), place, "", MS_MOVE)


def detached() -> int:
    """Return a new file system that has no place yet."""
    context = call("syscall", SYS_FSOPEN, b"tmpfs", 0)
    call("syscall", SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0)
    return call("syscall", SYS_FSMOUNT, context, 0, 0)


@program
def move_mount() -> Iterator[str | None]:
    made, place = detached(), str(directory("new-calls")).encode()
    yield None
    call("syscall", SYS_MOVE_MOUNT, made, b"", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH)


@program
def umount() -> Iterator[str | None]:
    place = mounted("unmounted")
    yield None
    call("umount2", str(place).encode(), 0)


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


@program
def ptrace_trace() -> Iterator[str | None]:
    pid = sleeper()
    yield None
    trace(pid)


@program
def ptrace_read() -> Iterator[str | None]:
    pid = sleeper()
    yield None
    os.readlink(f"{pid}/cwd", dir_fd=_PROC)


@program
def ptrace_tracedby() -> Iterator[str | None]:
    pid = sleeper(PROFILE)
    yield OTHER
    trace(pid)


@program
def ptrace_readby() -> Iterator[str | None]:
    pid = sleeper(PROFILE)
    yield OTHER
    os.readlink(f"{pid}/cwd", dir_fd=_PROC)


@program
def signal_receive() -> Iterator[str | None]:
    pid = sleeper(PROFILE)
    yield HERE
    os.kill(pid, signal.SIGTERM)


# --- capabilities, limits, namespaces, profiles ---


@program
def capable() -> Iterator[str | None]:
    yield None
    os.chroot("/")


@program
def setrlimit() -> Iterator[str | None]:
    yield None
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))


@program
def userns_create() -> Iterator[str | None]:
    yield None
    call("unshare", CLONE_NEWUSER)


@program
def change_profile() -> Iterator[str | None]:
    yield None
    enter(ENTERED)


@program
def change_onexec() -> Iterator[str | None]:
    yield None
    write_attribute("exec", f"exec {OTHER}")


@program
def stack() -> Iterator[str | None]:
    yield None
    write_attribute("current", f"stack {STACKED}")


@program
def change_hat() -> Iterator[str | None]:
    yield None
    write_attribute("current", "changehat 0000000000000001^absent")


def compiled() -> bytes:
    text = f"profile {PROFILE}-loaded {{\n}}\n"
    argv = ["apparmor_parser", "--skip-cache", "--stdout", "--skip-kernel-load"]
    return subprocess.run(argv, input=text.encode(), capture_output=True, check=True).stdout


@program
def profile_load() -> Iterator[str | None]:
    blob = compiled()
    yield None
    os.write(os.open(POLICY / ".load", os.O_WRONLY), blob)
    os.write(os.open(POLICY / ".remove", os.O_WRONLY), f"{PROFILE}-loaded".encode())


@program
def profile_replace() -> Iterator[str | None]:
    blob = compiled()
    yield None
    os.write(os.open(POLICY / ".replace", os.O_WRONLY), blob)
    os.write(os.open(POLICY / ".remove", os.O_WRONLY), f"{PROFILE}-loaded".encode())


# --- files ---


@program
def open_not_owned() -> Iterator[str | None]:
    place = file(NONE / "another")
    os.chown(place, 1000, 1000)
    yield None
    os.open(place, os.O_RDWR)


@program
def open_odd() -> Iterator[str | None]:
    place = file(NONE / 'a b,c*[d]\\{é}"^#@x')
    yield None
    os.open(place, os.O_RDONLY)


@program
def rmdir() -> Iterator[str | None]:
    place = directory("rmdir")
    yield None
    place.rmdir()


@program
def link() -> Iterator[str | None]:
    target = file(FREE / "target")
    yield None
    os.link(target, NONE / "link")


@program
def rename_src() -> Iterator[str | None]:
    place = file(NONE / "renamed")
    yield None
    place.rename(FREE / "renamed-to")


@program
def rename_dest() -> Iterator[str | None]:
    place = file(FREE / "renamed")
    yield None
    place.rename(NONE / "renamed-to")


@program
def file_lock() -> Iterator[str | None]:
    place = os.open(file(READ / "locked"), os.O_RDONLY)
    os.close(place)
    yield None
    place = os.open(READ / "locked", os.O_RDONLY)
    fcntl.flock(place, fcntl.LOCK_SH)


@program
def file_mmap() -> Iterator[str | None]:
    file(READ / "mapped", "x" * 4096)
    yield None
    place = os.open(READ / "mapped", os.O_RDONLY)
    mmap.mmap(place, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)


@program
def file_mprotect() -> Iterator[str | None]:
    file(READ / "protected", "x" * 4096)
    _LIBC.mmap.restype = ctypes.c_void_p
    yield None
    place = os.open(READ / "protected", os.O_RDONLY)
    at = _LIBC.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE, place, ctypes.c_long(0))
    call("mprotect", ctypes.c_void_p(at), 4096, mmap.PROT_READ | mmap.PROT_EXEC)


@program
def exec_() -> Iterator[str | None]:
    place = executable("program")
    yield None
    os.execv(place, [str(place)])  # noqa: S606


@program
def file_perm() -> Iterator[str | None]:
    """A file that was opened under a profile that allows it, used under one that does not."""
    place = file(NONE / "opened")
    yield OTHER
    opened = os.open(place, os.O_WRONLY)
    yield None
    os.write(opened, b"x")


@program
def file_inherit() -> Iterator[str | None]:
    place = file(NONE / "inherited", "said")
    yield OTHER
    os.dup2(os.open(place, os.O_RDONLY), 7)
    os.set_inheritable(7, True)
    write_attribute("exec", f"exec {PROFILE}")
    os.execv("/bin/sh", ["sh", "-c", 'read -r said <&7; [ "$said" = said ] || exit 13'])  # noqa: S606


@program
def file_receive() -> Iterator[str | None]:
    place = file(NONE / "received")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    pid = os.fork()
    if pid == 0:
        enter(OTHER)
        sent = os.open(place, os.O_RDONLY)
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sent]))])
        os._exit(0)
    os.waitpid(pid, 0)
    yield None
    _, received, *_ = theirs.recvmsg(1, socket.CMSG_SPACE(4))
    if not received:
        raise PermissionError(13, "no file came")


@program
def px_to_nothing() -> Iterator[str | None]:
    place = executable("sent-elsewhere")
    yield None
    os.execv(place, [str(place)])  # noqa: S606


@program
def no_label() -> Iterator[str | None]:
    yield None
    write_attribute("exec", f"exec {ABSENT}")


@program
def nnp() -> Iterator[str | None]:
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    yield None
    enter(STRICT)


@program
def prlimit() -> Iterator[str | None]:
    pid = sleeper()
    yield None
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1024, 1024))


@program
def disconnected() -> Iterator[str | None]:
    made = detached()
    yield STRICT
    os.open("x", os.O_WRONLY | os.O_CREAT, dir_fd=made)


# --- sockets: the kernel asks by family and type ---


@program
def sock_accept() -> Iterator[str | None]:
    made, peer = socket.create_server(("127.0.0.1", 0)), socket.socket()
    peer.connect(made.getsockname())
    yield None
    made.accept()


@program
def sock_sendmsg() -> Iterator[str | None]:
    ours, _theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    yield None
    ours.send(b"x")


@program
def sock_recvmsg() -> Iterator[str | None]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(b"x")
    yield None
    theirs.recv(1)


@program
def sock_shutdown() -> Iterator[str | None]:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM)
    yield None
    try:
        made.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # it was asked, and has no such operation
            raise


# --- io_uring, message queues ---

SYS_URING_SETUP, SYS_URING_ENTER, SYS_URING_REGISTER = 425, 426, 427
SYS_MQ_OPEN = 240
URING_SQPOLL, REGISTER_PERSONALITY = 2, 9


def ring(flags: int = 0) -> tuple[int, bytes]:
    """Return a new ring and what the kernel tells of it."""
    told = ctypes.create_string_buffer(120)
    struct.pack_into("I", told, 8, flags)
    return call("syscall", SYS_URING_SETUP, 4, told), told.raw


@program
def uring_sqpoll() -> Iterator[str | None]:
    yield None
    ring(URING_SQPOLL)


@program
def uring_override() -> Iterator[str | None]:
    yield None
    made, told = ring()
    one = call("syscall", SYS_URING_REGISTER, made, REGISTER_PERSONALITY, None, 0)
    entries = mmap.mmap(made, 4 * 64, offset=0x10000000)
    entries[:64] = struct.pack("<BBHiQQIIQHHi16x", 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, one, 0)
    _, tail, *_, array_at = struct.unpack_from("<7I", told, 40)
    submitted = mmap.mmap(made, array_at + 16)
    struct.pack_into("<I", submitted, array_at, 0)
    struct.pack_into("<I", submitted, tail, 1)
    call("syscall", SYS_URING_ENTER, made, 1, 0, 0, None, 0)
    completions = struct.unpack_from("<I", told, 80 + 20)[0]
    results = mmap.mmap(made, completions + 16 * 8)
    _user, result, _flags = struct.unpack_from("<QiI", results, completions)
    if result < 0:
        raise OSError(-result, "uring_override")


@program
def mqueue_create() -> Iterator[str | None]:
    yield None
    call("syscall", SYS_MQ_OPEN, b"gate-proof", os.O_CREAT | os.O_RDWR, 0o600, None)


@program
def unix_abstract() -> Iterator[str | None]:
    """Of a kernel that tells sockets' addresses and peers apart, this needs a rule of its own."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind("\0docker-lxc-gate-proof")
    made.listen()
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    yield None
    ours.connect("\0docker-lxc-gate-proof")


@program
def dbus_call() -> Iterator[str | None]:
    yield None
    ask = ["--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.ListNames"]
    os.execv("/usr/bin/dbus-send", ["dbus-send", "--system", "--print-reply", *ask])  # noqa: S606


# --- those of one kind, by what they do ---

#: To a mount that is there.
CHANGED = {
    "mount_unbind": MS_UNBINDABLE,
    "mount_runbind": MS_UNBINDABLE | MS_REC,
    "remount": MS_REMOUNT | MS_RDONLY,
    "remount_bind": MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID,
}
BOUND = {"mount_bind": MS_BIND, "mount_rbind": MS_BIND | MS_REC}
SENT = {"signal_send": signal.SIGTERM, "signal_realtime": signal.SIGRTMIN + 3, "signal_exists": 0}
#: With a file that is there; with a path that is not.
USED: dict[str, Callable[[Path], object]] = {
    "open_read": lambda place: os.open(place, os.O_RDONLY),
    "open_append": lambda place: os.open(place, os.O_WRONLY | os.O_APPEND),
    "unlink": lambda place: place.unlink(),
    "truncate": lambda place: os.truncate(place, 0),
    "chmod": lambda place: place.chmod(0o600),
    "chown": lambda place: os.chown(place, 0, 0),
    "sysrq-trigger": lambda place: os.open(place, os.O_RDONLY),
}
MADE: dict[str, Callable[[Path], object]] = {
    "create": lambda place: os.open(place, os.O_WRONLY | os.O_CREAT),
    "mknod": os.mkfifo,
    "mkdir": lambda place: place.mkdir(),
    "symlink": lambda place: place.symlink_to("x"),
}
#: With a socket that was open before; the kernel asks by its family and type.
SOCKETS: dict[str, tuple[tuple[int, ...], Callable[[socket.socket], object]]] = {
    "sock_bind": ((socket.AF_INET, socket.SOCK_DGRAM), lambda made: made.bind(("127.0.0.1", 0))),
    "sock_listen": ((socket.AF_INET6, socket.SOCK_STREAM), lambda made: made.listen()),
    "sock_connect": ((socket.AF_INET6, socket.SOCK_DGRAM), lambda made: made.connect(("::1", 9))),
    "sock_getname": ((socket.AF_NETLINK, socket.SOCK_RAW), lambda made: made.getsockname()),
    "sock_getopt": (
        (socket.AF_INET, socket.SOCK_RAW, 1),
        lambda made: made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
    ),
    "sock_setopt": (
        (socket.AF_INET6, socket.SOCK_RAW, 58),
        lambda made: made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),
    ),
}


def change(name: str, flags: int) -> Iterator[str | None]:
    place = mounted(name)
    yield None
    mount("proof", place, "tmpfs", flags)


def bind(name: str, flags: int) -> Iterator[str | None]:
    source, place = directory(f"{name}-source"), directory(name)
    yield None
    mount(str(source), place, "", flags)


def send(number: int) -> Iterator[str | None]:
    pid = sleeper()
    yield None
    os.kill(pid, number)


def use(name: str, how: Callable[[Path], object]) -> Iterator[str | None]:
    place = file(NONE / name)
    yield None
    how(place)


def make(name: str, how: Callable[[Path], object]) -> Iterator[str | None]:
    yield None
    how(NONE / name)


def ask(sort: tuple[int, ...], how: Callable[[socket.socket], object]) -> Iterator[str | None]:
    made = socket.socket(*sort)
    yield None
    how(made)


@program
def sock_create() -> Iterator[str | None]:
    yield None
    socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)


PROGRAMS |= {name: partial(change, name, flags) for name, flags in CHANGED.items()}
PROGRAMS |= {name: partial(bind, name, flags) for name, flags in BOUND.items()}
PROGRAMS |= {name: partial(send, number) for name, number in SENT.items()}
PROGRAMS |= {name: partial(use, name, how) for name, how in USED.items()}
PROGRAMS |= {name: partial(make, name, how) for name, how in MADE.items()}
PROGRAMS |= {name: partial(ask, *each) for name, each in SOCKETS.items()}


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
