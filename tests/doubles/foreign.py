"""Every function that reads bytes which somebody else chose, in one table.

``PARSERS`` names each with what it is asked with, and an answer as a healthy machine gives it, from
which the fuzzing mutates.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from facts import (
    access,
    apparmor,
    backup_archives,
    backups,
    confinement,
    docker,
    docker_witness,
    dockerd,
    failed_units,
    machine_state,
    neighbours,
    process_tree,
    repository,
)
from facts.audit import audit_files, audit_log, audit_netlink, audit_records, log_room
from facts.denial import denial_log, denials, profile_text
from facts.denial.dangerous_rules import danger
from facts.denial.denial_groups import Tally
from facts.denial.denial_words import wanted
from facts.denial.deny_rules import forbidding_rules
from facts.denial.profile_text import Policy, Rule
from facts.denial.smallest_rule import smallest_rule
from remediation import applied, backup, docker_in_lxc, provision
from remediation.actions import container_options as options
from remediation.actions import package, storage_driver
from remediation.edits import json_files
from remediation.edits.container_file import container_options, lxc_options
from remediation.edits.daemon_json import daemon_json, data_root
from remediation.engine import journal_format
from remediation.engine.journal import Journal
from remediation.phoenix.description import described, template_of
from remediation.phoenix.scripts import install_script, setup_script
from targets import archive, batch, files, guest_root, root
from targets.lock import Lock
from targets.runtime import container_config
from targets.runtime.lxc import Lxc
from targets.runtime.normal_form import normal_form
from targets.runtime.pct import Pct
from targets.transport import Base, CommandResult
from tests.doubles import foreign_files, foreign_patient, foreign_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from remediation.engine.action import Step
    from targets.transport import Transport


class Held:
    """A command that runs for ever."""

    def alive(self) -> bool:
        return True

    def release(self) -> None:
        pass


class Foreign(Base):
    """A machine whose every answer somebody else chose: in turn, the last one again and again."""

    machine = "a machine"

    def __init__(self, answers: Sequence[tuple[int, bytes, bytes]]) -> None:
        self._answers, self._next = answers, 0

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        del stdin, timeout
        code, out, err = self._answers[min(self._next, len(self._answers) - 1)]
        self._next += 1
        return CommandResult(tuple(argv), code, out, err, self.machine, 0.0, 0.0)

    def hold(self, argv: Sequence[str], word: str) -> Held:
        del argv, word
        return Held()


def _steps(on: Transport, runtime: Callable[[Transport], Pct | Lxc]) -> list[Step]:
    """Return the whole plan's steps on a machine that answers as ``on`` does."""
    there = Foreign([(0, b"RUNNING\n", b"")])
    steps = list(docker_in_lxc.plan(runtime(there), 950, tell=lambda _: None).steps)
    assert len(steps) > 5, steps
    return [type(step)(step.action, on) for step in steps]


def _each(what: str, runtime: Callable[[Transport], Pct | Lxc]) -> list[Callable[[Base], object]]:
    def of(number: int) -> Callable[[Base], object]:
        def ask(on: Base) -> object:
            step = _steps(on, runtime)[number]
            more = (None,) if what == "side_effects" else ()
            return getattr(step.action, what)(step.on, *more)

        return ask

    number = len(_steps(Foreign([(0, b"", b"")]), runtime))
    return [of(each) for each in range(number)]


def _text(parse: Callable[[str], object]) -> Callable[[Base], object]:
    return lambda on: parse(on.run(["text"]).text)


def _bytes(parse: Callable[[bytes], object]) -> Callable[[Base], object]:
    return lambda on: parse(on.run(["bytes"]).stdout)


class _Running(Pct):
    """A runtime whose container runs, so that the answer is to the question after that."""

    def init_pid(self, ctid: int) -> int:
        return 42 if ctid else 0


def _runtime(ask: Callable[[Pct | Lxc], object]) -> Callable[[Base], object]:
    def both(on: Base) -> None:
        ask(Pct(on))
        ask(Lxc(on))

    return both


def _line_of_a_journal(line: bytes) -> None:
    """The journal's own reader catches these two."""
    with suppress(journal_format.Damaged, journal_format.OtherFormat):
        journal_format.read(line)


def _settings(content: bytes) -> None:
    """Whoever reads Docker's settings catches a ValueError, as of every JSON."""
    with suppress(ValueError):
        json_files.parse(content)


def _archive() -> bytes:
    """A file as a guest's tar sends it, with an extended header."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as written:
        member = tarfile.TarInfo("etc/docker/daemon.json")
        member.size, member.mtime, member.pax_headers = len(JSON), 1.5, {"SCHILY.xattr.user.x": "1"}
        written.addfile(member, io.BytesIO(JSON))
    return stream.getvalue()


def _member(said: bytes) -> None:
    """Whoever takes an archive apart catches this one."""
    with suppress(archive.UnreadableArchive):
        archive.only_member(said, largest=1 << 20)


def _explained(text: bytes) -> None:
    """Everything that is said of the denials in a log."""
    tally = Tally(lambda denial, _: denials.owner_by_name(denial))
    tally.count(audit_files.lines(audit_files.decompressed(io.BytesIO(text))))  # type: ignore[arg-type]
    policy = Policy([Rule(f"deny {rule}", "/p", 1, "lxc-phoenix-v2") for rule in DENY])
    for group in tally.groups():
        fields = group.denial.fields
        wanted(fields)
        danger(fields)
        smallest_rule(group.denial)
        [*map(str, forbidding_rules(policy, fields))]


def _log_file(text: bytes) -> None:
    """A log in a file, and a profile in another one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.log"
        path.write_bytes(text)
        with audit_files.opened(path) as stream:
            list(audit_files.lines(stream))
        policy = profile_text.read(path, [])
        forbidding_rules(policy, audit_records.parse(DENIAL.decode())[0].fields)


def _window(on: Base) -> None:
    """auditd's log of a window, looked at twice."""
    log = audit_log.AuditLog(on, "11", 4)
    for _ in range(2):
        audit_records.parse(log.text())
    audit_records.parse(log.kept)


def _judged(found: backups.Backups, on: Base) -> None:
    backups.newest_listed(found.remote, 24)
    backups.newest_sound(on, (*found.container, *found.etc), 24)


#: One deny rule of each class.
DENY = (
    *("file", "/** w", "mount", "mount fstype=fuse -> /**", "capability", "network", "ptrace"),
    *("signal", "dbus", "unix", "userns", "io_uring", "mqueue", "change_profile", "remount"),
)
DENIAL = (
    b'type=AVC msg=audit(1795717106.123:42): apparmor="DENIED" operation="mount" '
    b'info="failed flags match" error=-13 profile="lxc-phoenix-v2" name="/var/lib/docker/" pid=42 '
    b'comm=2866757365292F fstype="fuse.fuse-overlayfs" srcname="fuse-overlayfs" flags="rw, rbind"\n'
)
#: What a node answers that is asked for its denials.
NODE = (
    b"== state\nlost 0\nreader 7\nprocess S 12 auditd\n== auditd\n",
    DENIAL,
    b"parent 1.5:42 7\n== clock\nbtime 900\n100\n== processes\n",
    b"7 (cat) S 6 1 1 0 -1 4 1 1 1 1 1 1 1 1 20 0 1 0 9 1 1\n",
    b"== cgroups\n/proc/7/cgroup:0::/lxc/950/ns\n== labels\n/proc/7/attr/current:p (enforce)\n",
    b"== configurations\n/etc/pve/lxc/952.conf:lxc.apparmor.profile: p\n== end\n",
)
CONFIGURATION = (
    b"#a comment\narch: amd64\nfeatures: nesting=1,keyctl=1,fuse=1\nrootfs: local:950/x.raw\n"
    b"unprivileged: 1\nmp0: local:950/y.raw,mp=/srv\nlxc.apparmor.profile: lxc-phoenix-v2\n"
    b"lxc.mount.entry: /dev/fuse dev/fuse none bind,create=file\n\n[pve:pending]\nkeyctl: 1\n"
    b"[before]\nfeatures: nesting=1\n"
)
EFFECTIVE = (
    b"lxc.apparmor.profile = lxc-phoenix-v2\nlxc.include = /usr/share/lxc/config/common.conf\n"
    b"lxc.idmap = u 0 100000 65536\nlxc.mount.entry = /dev/fuse dev/fuse none bind 0 0\n"
)
JSON = (
    b'{"storage-driver": "overlay2", "data-root": "/srv/docker", "log-opts": {"max-size": "1m"}}\n'
)
BACKUPS = (
    b"1795717106.5\npve1\n./pve\n\n100 1795717000.1 /d/vzdump-lxc-950-2026_11_26-10_00_00.tar.zst\n"
    b"100 1795717000.1 /d/etc-pve1-2026_11_26-10_00_00.tar.zst\n\n1795717000\n1795717000\n"
)
STORAGES = (
    b"local dir active /var/lib/vz\npbs pbs active\nold dir disabled /x\n"
    b"- pbs:backup/ct/950/2026-11-26T10:00:00Z 1234567\n"
)
LINE = (
    b'{"v":2,"at":"2026-11-26T10:00:00Z","ctid":950,"kind":"before","action":"a","machine":"m"}\n'
)
STATUS = (
    b"# branch.oid 0123456789012345678901234567890123456789\0# branch.head main\0"
    b"# branch.upstream origin/main\0"
    b"1 .M N... 100644 100644 100644 1 2 bin/x\0"
    b"2 R. N... 1 2 3 4 5 "
    b"R100 new\0old\0? other\0"
)
WITNESS = (
    b"\n== files\n/etc/fstab\tf 644 root:root 10 |1795717106.1 42\n\n== content\n"
    b"0123  /etc/fstab\n\n== attributes\n# file: /etc/fstab\nuser.x=0x01\n"
    b"\n== package\nbash:amd64\tii  5.2\n\n== policy\n"
    b"p\tenforce\n\n== unit\n/run/systemd/system/x\tf \n\n== active\nssh.service\tloaded active\n"
    b"\n== mount\n/\text4 rw\n"
)
DOCKER = (
    b"== unit\nId=docker.service\nActiveState=active\nMainPID=7\nended with 0\n\n"
    b"== container\n0123456789ab web\nended with 0\n\n== image\nsha256:0123456789ab x:1\n"
    b"ended with 0\n\n== state\n/web running since 2026-11-26T21:00:00.5Z\nended with 0\n\n"
    b"== firewall\n*nat\n:DOCKER - [0:0]\n*filter\nended with 0\n\n"
)

#: A container's root knows it, and can send what fits it.
_MARK = "0123456789abcdef" * 2
_TWO_AT_ONCE = batch._SCRIPT.format(mark=_MARK) + "one timeout -k 5 60 a\none timeout -k 5 60 b\n"


def _told(whole: CommandResult) -> object:
    """Both outputs must have the same marks, so the foreign one is given as both."""
    return batch.told(replace(whole, stderr=whole.stdout))


#: Name → what is asked, and how a healthy machine answers.
PARSERS: dict[str, tuple[Callable[[Base], object], bytes]] = {
    "batch.told": (
        lambda on: _told(on.run(["sh", "-c", _TWO_AT_ONCE, "at once"])),
        b"\n%s 0\na\n%s 0\n\n%s 1\n" % ((_MARK.encode(),) * 3),
    ),
    "apparmor.loaded_profiles": (apparmor.loaded_profiles, b"p (enforce)\nq//r (complain)\n"),
    "apparmor.loaded_policy": (lambda on: on.ask(apparmor.loaded_policy("p")), b"p.1\n0123abcd\n"),
    "apparmor.loaded_binary": (lambda on: apparmor.loaded_binary(on, "p"), b"/sys/p.1\n"),
    "apparmor.attachment": (lambda on: apparmor.attachment(on, "p"), b"/policy/p.1/attach:p\n"),
    "apparmor.compiled_policy": (lambda on: on.ask(apparmor.compiled_policy("/p")), b"\x04\x08"),
    "apparmor.processes_under": (
        lambda on: apparmor.processes_under(on, "p"),
        b"/proc/42/attr/apparmor/current\n",
    ),
    "apparmor.label": (lambda on: apparmor.label(on, 42), b"p (enforce)\n"),
    "audit_records.parse": (
        _text(lambda text: [(d.summary, smallest_rule(d)) for d in audit_records.parse(text)]),
        DENIAL,
    ),
    "denial_groups.Tally": (_bytes(_explained), DENIAL + DENIAL),
    "audit_files.opened": (_bytes(_log_file), DENIAL),
    "audit_log.AuditLog": (
        _window,
        b"11 /var/log/audit/audit.log.1\n12 /var/log/audit/audit.log\n%b" % DENIAL
        + b"docker-lxc-gate: read 11 345 %b\n" % (b"0" * 64),
    ),
    "denial_log.read": (
        lambda on: [
            found.owner(denial, 1795717106.0)
            for found in [denial_log.read(on)]
            for line in found.lines
            for denial in audit_records.records(line.decode(errors="replace"))
        ],
        b"".join(NODE),
    ),
    "backups.find": (lambda on: _judged(backups.find(on, 950, "/d"), on), BACKUPS),
    "backup_archives._anothers": (
        lambda on: list(
            backup_archives._anothers(on, backup_archives.Backup("/a", 2, 0.0, ()), "hostname: x\n")
        ),
        b"hostname: x\nnet0: name=eth0,hwaddr=BC:24:11:00:00:01\nlxc.net.0.hwaddr = aa\n",
    ),
    "backups._storages": (lambda on: backups.find(on, 950), STORAGES),
    "container_config.parse": (
        _text(
            lambda text: (
                container_config.parse("p", text),
                container_config.at_next_stop(container_config.parse("p", text)),
            )
        ),
        CONFIGURATION,
    ),
    "container_file.container_options": (
        _bytes(container_options),
        CONFIGURATION,
    ),
    "container_config.volumes": (_text(container_config.volumes), CONFIGURATION),
    "container_config.parse_lxc": (
        _text(lambda text: container_config.parse_lxc("p", text)),
        EFFECTIVE,
    ),
    "container_file.lxc_options": (
        lambda on: lxc_options(on, on.run(["text"]).stdout),
        EFFECTIVE,
    ),
    "docker._ids": (lambda on: on.ask(docker.RUNNING), b"0123\n4567\n"),
    "backup.require_unfrozen": (
        lambda on: backup.require_unfrozen(Pct(on), 950),
        b"features: fuse=1\n",
    ),
    "docker._is_booting": (lambda on: on.ask(docker.BOOTING), b"starting\nJob=12\n"),
    "container_options._machine_id": (
        lambda on: on.ask(options._MACHINE_ID),
        b"0123456789abcdef0123456789abcdef\n",
    ),
    "docker.objects": (docker.objects, b"image x:latest\nvolume y\n"),
    "phoenix_description.template_of": (
        _bytes(lambda text: template_of(text, 950)),
        b'{"containers": {"950": {"template": "x"}}}',
    ),
    "phoenix_description.described": (
        _bytes(lambda text: described(text, 950)),
        b'{"containers": {"950": {"features": [], "pct_options": [], "lxc_options": []}}}',
    ),
    "daemon_json.daemon_json": (_bytes(daemon_json), JSON),
    "daemon_json.data_root": (_bytes(data_root), JSON),
    "phoenix_scripts.install_script": (_bytes(install_script), b"#!/bin/bash\nexit\n"),
    "phoenix_scripts.setup_script": (
        _bytes(setup_script),
        b"#!/bin/bash\nsystemctl reload apparmor\n",
    ),
    "applied.is_on": (applied.is_on, LINE),
    "applied.settings_before_and_after": (
        lambda on: applied.settings_before_and_after(on, 950),
        LINE,
    ),
    "docker_witness.record": (docker_witness.record, DOCKER),
    "files.capture": (lambda on: files.capture(on, "/etc/x"), b"regular file 644 0 0 10\nabc"),
    "journal.lines": (lambda on: Journal(on, 950).entries(), LINE),
    "journal.exported": (lambda on: Journal(on, 950).exported(), LINE),
    "journal_format.read": (_bytes(_line_of_a_journal), LINE.strip()),
    "denials.attribute": (
        lambda on: denials.attribute(
            on,
            audit_records.parse(DENIAL.decode()),
            process_tree.ProcessNotes(),
            950,
            "lxc-phoenix-v2",
        ),
        b"42 0::/lxc/950/ns\n",
    ),
    "confinement.processes": (
        lambda on: confinement.processes(on, 42),
        b"42 comm systemd\n42 label lxc-phoenix-v2 (enforce)\n",
    ),
    "confinement.allowed_attempts": (
        lambda on: confinement.allowed_attempts(_Running(on), 950),
        b"firmware 13 0\nunconfined 13 0\n",
    ),
    "confinement.widening_rules": (
        _text(lambda text: confinement.widening_rules(text, text, "lxc-phoenix-v2", shipped="")),
        b"profile lxc-phoenix-v2 {\n  change_profile -> **,\n  /x Ux,\n}\n",
    ),
    "dockerd.read": (
        _bytes(
            lambda said: (
                dockerd.read(said, dockerd.Info, "x"),
                dockerd.read(said, dockerd.Record, "x"),
            )
        ),
        b'{"Driver": "vfs", "DriverStatus": [["a", "b"]], "Id": "0", "Image": "sha256:0"}',
    ),
    "dockerd.find": (lambda on: dockerd.find(Pct(on), 950), b"42 1 1 2f7573722f62696e\n"),
    "dockerd.info": (
        lambda on: dockerd.Daemon(Pct(on), 950, 42, ("dockerd",)).info(),
        b"42\n",
    ),
    "failed_units.failed": (
        lambda on: failed_units.failed(on, ["x.service"]),
        b"Id=x.service\nInactiveExitTimestamp=Thu 2026-11-26 10:00:00.123456 UTC\n",
    ),
    "failed_units.log": (failed_units.log, b"since 1795717106.1\n" + DENIAL + b"end\n"),
    "failed_units.refusal_message": (
        lambda on: failed_units.refusal_message(on, "x.service"),
        b"x: Permission denied\n",
    ),
    "guest_root.look": (lambda on: guest_root.look(Pct(on), 950, "/dev/fuse"), b"42\n"),
    "audit_netlink.state": (
        audit_netlink.state,
        b"lost 0\nreader 7\nrule -a always,exclude -F uid=1\nprocess S 12 auditd\nlog 5 100\n",
    ),
    "audit_netlink.text": (lambda on: audit_netlink.Records(on).text(), DENIAL),
    "process_tree.parse": (
        _text(process_tree.parse),
        b"whole 1\nparent 3 2\nprocess 3 950\nprofile 950 p\n",
    ),
    "process_tree.notes": (
        lambda on: process_tree.ProcessWatch(on).notes(),
        b"whole 1\nparent 3 2\n",
    ),
    "lock.owner": (lambda on: Lock.of(on).owner(), b'{"doing":"x","user":"y","pid":1}'),
    "package.half": (package._overtaken, b"docker.io\trc \n"),
    "package.statuses": (lambda on: package._statuses(on, ["a"]), b"a\tii \n"),
    "access.access": (access.access, b"0\nroot\n\n"),
    "repository.checkout": (lambda on: repository.checkout(on, "/r"), STATUS),
    "repository.upstream_commit": (
        lambda on: repository.upstream_commit(on, repository.Checkout("/r", "1", "main")),
        b"0123\trefs/heads/main\n",
    ),
    "neighbours.affected": (lambda on: neighbours.affected(on, "p", 950), CONFIGURATION),
    "neighbours.affected_plain": (
        lambda on: neighbours.affected_plain(on, "p", 950),
        EFFECTIVE,
    ),
    "log_room.log_room": (
        lambda on: (log_room.log_room(on, "auditd"), log_room.log_room(on, "kernel")),
        b"100 200 /var\n75\n",
    ),
    "provision.of_template": (lambda on: provision.of_template(on, "a:b/c", "/etc/x"), b"content"),
    "root.as_root": (lambda on: root.as_root(on, sudo=False).run(["id"]), b"0\n"),
    "root.sudo": (lambda on: root.as_root(on, sudo=True).run(["id"]), b"0\n"),
    "base.inside": (_runtime(lambda runtime: runtime.inside(950).run(["id"])), b"0\n"),
    "base.init_pid": (_runtime(lambda runtime: runtime.init_pid(950)), b"42\n"),
    "base.effective": (_runtime(lambda runtime: runtime.effective(950)), EFFECTIVE),
    "base.configuration": (_runtime(lambda runtime: runtime.configuration(950)), CONFIGURATION),
    "base.started_with": (_runtime(lambda runtime: runtime.started_with(950)), EFFECTIVE),
    "base.features": (_runtime(lambda runtime: runtime.features(950)), CONFIGURATION),
    "base.state": (_runtime(lambda runtime: runtime.state(950)), b"RUNNING\n"),
    "base.require_ours": (
        _runtime(lambda runtime: runtime.require_ours(950)),
        b"ct: 950\n\tstate started\n",
    ),
    "json_files.parse": (_bytes(_settings), JSON),
    "normal_form": (_text(normal_form), CONFIGURATION),
    "archive": (_bytes(_member), _archive()),
    "storage_driver._require_told": (
        lambda on: storage_driver._require_told(on, JSON, "/srv/docker"),
        b"{ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd --data-root /srv/docker }\n",
    ),
    "options._text": (_bytes(options._text), b"arch: amd64\n"),
    "storage_driver._driver": (
        lambda on: storage_driver._driver(on.ask(docker.DRIVER_AND_ROOT)),
        b"overlay2 /var/lib/docker\n",
    ),
    "storage_driver._stored": (
        lambda on: on.ask(docker_in_lxc._storage()._stored(files.FileState("file", b"{}"))),
        b"/srv/docker/overlay2\n/srv/docker/image/overlay2\n",
    ),
    "files._too_large": (lambda on: files._too_large(on, "/etc/x"), b"1048577\n"),
    "files._shown": (_text(files._shown), b"user.x=0x01"),
    "machine_state.record_target": (lambda on: machine_state.record_target(Pct(on), 950), WITNESS),
    "machine_state.record": (
        lambda on: machine_state.comparable_after_rollback(machine_state.record(on)),
        WITNESS,
    ),
    **foreign_files.PARSERS,
    **foreign_patient.PARSERS,
    **foreign_steps.PARSERS,
    **{
        f"plan[{name}].{number}.{what}": (ask, sample)
        for name, runtime in (("pct", Pct), ("lxc", Lxc))
        for what in ("capture", "check", "require_reversible", "side_effects", "current")
        for number, ask in enumerate(_each(what, runtime))
        for sample in [JSON if what in {"check", "side_effects"} else _archive()]
    },
}


def _of(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for name in names)


#: Functions that read something and are not in the table, by the reason.
_REASONS = {
    "reads what this program wrote itself": (
        *_of("commandline.json_output", "json_line", "json_text"),
        *_of("remediation.cli.printing", "_lines"),
        *_of("commandline.output", "render", "run", "written"),
        *_of("remediation.engine.journal", "_append", "_as_json", "_beside", "_fetched"),
        *_of("remediation.engine.journal", "_name"),
        *_of("targets.masking", "_masked_member"),
        *_of("gate.claim", "_lock"),
        *_of("gate.report", "main"),
        *_of("gate.verdicts", "pytest_cmdline_main"),
    ),
    "masks what it is given, and parses none; test_gate_printable.py, test_gate_report.py": (
        *_of("gate.allure_bridge", "report_attached_data"),
    ),
    "shows the first line of what npm's allure says; test_gate_report.py": (
        *_of("gate.report", "_run"),
    ),
    "moves bytes and parses none": (
        *_of("targets.process", "_drained", "_heard", "converse", "end", "first_line"),
        *_of("targets.files", "_require_done"),
        *_of("remediation.cli.denials", "_comes"),
        *_of("remediation.provision", "provision"),
    ),
    "asks again for minutes, for a word that it compares": (
        *_of("targets.runtime.waiting", "wait_until_booted", "settled", "wait_until_online"),
        *_of("targets.runtime.waiting", "routed"),
        *_of("targets.connect", "_runtime"),
        *_of("targets.lock", "_take"),
    ),
    "provokes denials and waits for them; test_audit_window.py has hostile logs": (
        *_of("facts.audit.audit_window", "_read_auditd", "_read_kernel"),
        *_of("facts.audit.canary", "provoke"),
    ),
    "changes what it reads of; tests/unit/remediation/engine/test_hostile_guest.py has it": (
        *_of("remediation.actions.storage_driver", "start_again"),
        *_of("remediation.actions.docker_package", "_clear"),
        *_of("remediation.actions.package", "apply", "mend", "_others"),
        *_of("remediation.cli.rollback", "_left"),
    ),
    "asks what the table names; tests/unit/remediation/cli/test_denials_command.py": (
        *_of("remediation.cli.denials", "_asked", "_policy", "denials"),
    ),
    "reads a file of the user's own machine: test_known_hosts.py, test_ssh.py": (
        *_of("targets.ssh.known_hosts", "_entries", "_fingerprint"),
        *_of("targets.ssh.greeting", "first_line"),
        *_of("targets.ssh.ssh_config", "_asked"),
        *_of("targets.target_file", "_content", "_tables"),
    ),
    "opens regular files only, of a limited size; test_discover.py, test_includes.py": (
        *_of("lint.regular_file", "read"),
        *_of("lint.includes", "missing", "_opened"),
    ),
}
ELSEWHERE = {name: why for why, names in _REASONS.items() for name in names}
