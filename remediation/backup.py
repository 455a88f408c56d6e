"""Backing up a container and its node's ``/etc``, before a change.

Source: vzdump(1), pct(1) of ``fuse``, tar(1).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.facts import backups
from docker_lxc_gate.facts.backup_archives import HOUR, LONGEST, PATIENCE, expected, left_out
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.formats.proxmox import is_rewritten, normal_form
from docker_lxc_gate.machines import files
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.printable import Notice
from remediation.docker_data import judged, shown
from remediation.engine.errors import VerifyFailed

if TYPE_CHECKING:
    from docker_lxc_gate.facts.backups import Backups
    from docker_lxc_gate.formats.archive import FileState
    from docker_lxc_gate.machines.runtime.base import Runtime

_PACK = program("remediation", "pack.sh")
_MAKE_ETC = _PACK + program("remediation", "backup_etc.sh")
_MAKE_CONTAINER = _PACK + program("remediation", "backup_container.sh")
#: Prints the log of the container's backup that began after the newest one of /etc.
_NEW_LOG = """
etc=$(ls -t -- "$1"/etc-*.tar.* | head -n 1) &&
    find "$1" -maxdepth 1 -name "vzdump-lxc-$2-*.log" -newer "$etc" | tail -n 1
"""


def make_backup(
    runtime: Runtime,
    ctid: int,
    directory: str = backups.DUMP,
    tell: Callable[[str], None] = lambda _: None,
    keep: Callable[[bytes], str] | None = None,
) -> Backups:
    """Back up the node's ``/etc`` and the container, and check both archives.

    vzdump is used if the node has it. Otherwise tar archives the container's configuration and its
    root file system, with the node's ids and without other file systems. If files of a running
    container change while tar reads them, the log says so.

    For a backup, Proxmox rewrites the container's file in its own form, as at a stop. The file is
    restored afterwards, so that a before-image holds what its author wrote.

    Return the backups in the directory, which is created if it is absent. ``tell`` gets a line
    about what the backup leaves out, and one about each problem. ``keep`` stores a copy of the
    container's file on the node, for a run that is cut off during the backup; it returns its path.

    Raises:
        FactError: the backup lacks Docker's data, or nothing says whether it does.
        CommandFailed: an archive could not be made.
        VerifyFailed: an archive was made but does not count
            (:func:`docker_lxc_gate.facts.backups.newest_sound`).
    """
    node, path = runtime.node, runtime.config_path(ctid)
    before = files.capture(node, path)
    written = before.content.decode(errors="replace")
    lost, _ = judged(runtime, ctid, left_out(written, node))
    if lost:
        raise FactError(f"nothing was changed, because a backup of container {ctid} {lost}")
    argv = _container_argv(runtime, ctid, directory)
    copy = ""
    if keep and argv[0] == "vzdump" and normal_form(written) != written:
        copy = keep(before.content)
        notice = f"vzdump makes Proxmox rewrite {path}; until that is restored, a copy is in {copy}"
        tell(Notice(notice))
    node.run(["sh", "-c", _MAKE_ETC, "etc", directory, "/"], timeout=PATIENCE).require()
    try:
        _archive(node, argv, ctid, directory)
    except BaseException:
        try:
            _put_back(node, path, before)
        except RemediationError as error:  # told, so that it does not hide the backup's own error
            notice = f"{path} was not restored, and may be in Proxmox's form now: {error}"
            tell(Notice(notice))
        raise
    if _put_back(node, path, before) and copy:
        node.run(["rm", "-f", "--", copy]).require()
    made = backups.find(node, ctid, directory)
    container = expected(made.container[:1], runtime, ctid)
    for what, archives in ((f"container {ctid}", container), (f"{made.host}'s /etc", made.etc)):
        backup, defects = backups.newest_sound(node, archives[:1], hours=PATIENCE / HOUR)
        if backup is None:
            raise VerifyFailed(
                f"the backup of {what} that was just made in {directory} on {node.machine} does "
                f"not count: {defects[0] if defects else 'it is not there'}"
            )
    archive = made.container[0]
    left = left_out(written, node, archive)
    lost, known = judged(runtime, ctid, left, archive.path)
    if lost:
        raise FactError(f"{archive.path} was made, but it {lost}. Nothing else was changed")
    if left:
        tell(Notice(f"not in the backup of container {ctid}: {shown(left)}; {known}"))
    return made


def _archive(node: Transport, argv: list[str], ctid: int, directory: str) -> None:
    """Archive the container, after /etc; raises CommandFailed with the log, if there is one."""
    archived = node.run(argv, timeout=PATIENCE, limit=LONGEST)
    if not archived.ok:
        log = node.look(["sh", "-c", _NEW_LOG, "log", directory, str(ctid)]).text.strip()
        archived.require(f"the log beside the archive says why: {log}" if log else "")


def _put_back(node: Transport, path: str, before: FileState) -> bool:
    """Restore the container's file if Proxmox rewrote it; return whether it is as before."""
    now = files.capture(node, path)
    rewritten = is_rewritten(now, before)
    if rewritten:
        files.restore(node, path, before)
    return rewritten or now == before


def require_unfrozen(runtime: Runtime, ctid: int, directory: str = backups.DUMP) -> None:
    """Raise FactError if vzdump might freeze the container forever, unless it is stopped for it.

    Stopped for a backup, Docker's containers without a restart policy stay stopped: the user
    decides when.
    """
    if not _has_vzdump(runtime) or runtime.state(ctid) != "running":
        return
    written = (runtime.node.read(runtime.config_path(ctid)) or b"").decode(errors="replace")
    if may_freeze(written):
        raise FactError(
            f"container {ctid} is given /dev/fuse, so vzdump might freeze it forever while it "
            f"runs, and nothing was backed up: on {runtime.node.machine}, run "
            f"{shlex.join(vzdump(ctid, directory, 'stop'))} (it stops the container, and starts "
            "it again), then apply without --backup"
        )


def vzdump(ctid: int, directory: str, mode: str) -> list[str]:
    """Return vzdump's command; ``mode`` is ``snapshot``, or ``stop`` if it :func:`may_freeze`."""
    # Else vzdump.conf's retention deletes older backups before anyone has looked at this one.
    keep = ["--prune-backups", "keep-all=1", "--dumpdir", directory]
    return ["vzdump", str(ctid), "--mode", mode, "--compress", "zstd", *keep]


def may_freeze(written: str) -> bool:
    """Whether a backup may freeze a running container forever, as its configuration says.

    Modes snapshot and suspend freeze it. If a process in it waits for a fuse daemon that is frozen
    already, the freezer waits forever.
    """
    config = container_config.parse("", written)
    features = container_config.given(config.current().get("features", ""))
    entries = config.all("lxc.mount.entry")
    return "fuse" in features or any(map(container_config.gives_fuse, entries))


def _has_vzdump(runtime: Runtime) -> bool:
    return runtime.node.look(["sh", "-c", "command -v vzdump"]).ok


def _container_argv(runtime: Runtime, ctid: int, directory: str) -> list[str]:
    if _has_vzdump(runtime):
        return vzdump(ctid, directory, "snapshot")
    rootfs = runtime.effective(ctid).current().get("lxc.rootfs.path", "").removeprefix("dir:")
    written = runtime.config_path(ctid)
    return ["sh", "-c", _MAKE_CONTAINER, "make", directory, str(ctid), rootfs, written]
