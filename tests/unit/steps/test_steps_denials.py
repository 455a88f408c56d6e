"""Whose a denial is, and what is said of a refusal that left no record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from facts import audit_records
from facts import audit_window as log
from gate import evidence
from steps import audit as steps

MOUNT = (
    'apparmor="DENIED" operation="mount" class="mount" profile="lxc-phoenix-v2" pid=7 '
    'name="/mnt/" fstype="tmpfs" flags="rw"'
)


def judge(
    monkeypatch: pytest.MonkeyPatch,
    *lines: str,
    owner: int | None = 950,
    ok: bool = True,
    told: bytes = b"",
) -> str:
    window = SimpleNamespace(
        close=lambda: audit_records.parse("\n".join(lines)), source="auditd", unheard=""
    )
    run = SimpleNamespace(result=SimpleNamespace(ok=ok, stdout=b"", stderr=told))
    monkeypatch.setattr(steps, "_owners", lambda *args: [(each, owner) for each in args[2]])
    evidence.drain()
    anything: Any = SimpleNamespace(node=None)
    steps.nothing_was_denied(window, anything, 950, run, None)  # type: ignore[arg-type]
    (line,) = evidence.drain().lines
    return line


def test_a_quiet_log_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge(monkeypatch) == "auditd: canary seen, none lost, no denial"


def test_a_denial_is_shown_with_the_rule_that_would_allow_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(AssertionError, match=r"denied container 950 1 time\(s\): .*/mnt/") as red:
        judge(monkeypatch, MOUNT)
    assert "to allow it: mount options=(rw) fstype=tmpfs -> /mnt/," in str(red.value)


def test_a_neighbours_is_said_to_be_a_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge(monkeypatch, MOUNT, MOUNT, owner=952).endswith("2 of others (952)")


def test_one_that_may_be_ours_is_undetermined(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(log.Unwatched, match="cannot be attributed"):
        judge(monkeypatch, MOUNT, owner=None)


def test_a_refusal_without_a_record_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told = b"open sysctl net.ipv4.ip_unprivileged_port_start file: reopen fd 8: permission denied"
    with pytest.raises(AssertionError, match="was refused without a record: runc"):
        judge(monkeypatch, ok=False, told=told)


def test_a_docker_that_does_not_run_was_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge(monkeypatch, ok=False, told=b"Cannot connect to the Docker daemon")
