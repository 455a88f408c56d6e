"""Denials of what a process does to others and to itself: signals, capabilities, profiles, limits.

Sources: capabilities(7); kernel ``security/apparmor/{ipc,task,domain,resource}.c``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from facts.denial import file_denials
from facts.denial.denial_class import DenialClass, all_hold
from facts.denial.profile_text import matches

if TYPE_CHECKING:
    from facts.denial.denial_class import Record

_NODE = "a privileged container rules the node with it"
#: Those that rule the kernel itself. The root of an unprivileged container has them over its own
#: namespaces alone, where the kernel refuses the rest.
_CAPABILITIES = {
    "mac_admin": "it may replace AppArmor's policy of its namespace, also the profile itself",
    "mac_override": "it overrides mandatory access control",
    **dict.fromkeys(
        (
            *("sys_admin", "sys_module", "sys_rawio", "sys_ptrace", "sys_boot", "sys_time"),
            *("syslog", "bpf", "perfmon", "dac_read_search", "net_admin", "checkpoint_restore"),
        ),
        _NODE,
    ),
}
_PTRACE = {
    "read": "look into a process under {peer} (ptrace read)",
    "trace": "trace a process under {peer}",
    "readby": "be looked into by a process under {peer} (ptrace readby)",
    "tracedby": "be traced by a process under {peer}",
}
_SIGNALS = {"exists": "no signal (a look whether it exists)"}
#: No limit, as the kernel writes it; what the kernel's limit of nice and a rule's add up to.
_UNLIMITED, _NICE = (1 << 64) - 1, 20


def _ptrace(record: Record) -> str:
    words = _PTRACE.get(record.get("denied_mask", ""), _PTRACE["trace"])
    return words.format(peer=record.shown("peer"))


def _signal(record: Record) -> str:
    signal = record.shown("signal")
    name = _SIGNALS.get(signal, f"the signal {signal}")
    if "receive" in record.get("denied_mask", ""):
        return f"receive {name} from a process under {record.shown('peer')}"
    return f"send {name} to a process under {record.shown('peer')}"


def _peer_danger(record: Record) -> str:
    peer = record.get("peer", "")
    if peer in {"", record.get("profile")} or record.get("denied_mask") in {"receive", "readby"}:
        return ""
    if record.get("operation") == "signal" and record.get("signal") == "exists":
        return ""
    does = "end" if record.get("operation") == "signal" else "look into or steer"
    whom = "every unconfined process" if peer == "unconfined" else f"every process under {peer}"
    return f"it may {does} {whom}, as far as its user and namespaces let it"


def _forbids_capability(text: str, record: Record) -> bool:
    names = re.split(r"[\s,]+", text.strip())
    return names == [""] or record.get("capname") in names


def _change(record: Record) -> str:
    late = " at its next exec" if record.get("operation", "").endswith("_onexec") else ""
    return f"change to the profile {record.target or record.shown('name')}{late}"


def _change_danger(record: Record) -> str:
    target = record.target or "another one"
    return f"it leaves this profile for {target}, whose rules hold from then on"


def _forbids_change(text: str, record: Record, mark: str = "") -> bool:
    _, arrow, target = text.partition("->")
    return not arrow or matches(target.strip(), f"{mark}{record.target}")


def _stack(record: Record) -> str:
    late = " at its next exec" if record.get("operation", "").endswith("_onexec") else ""
    target = record.target or record.shown("name")
    return f"put the profile {target} on top of its own{late}"


def _stack_rule(record: Record) -> str:
    """A rule to put another profile on top of the process's own."""
    target = record.target or record["name"]
    quote = '"' * target.startswith('"')
    return f"change_profile -> {quote}&{target.removeprefix(quote)}"


def _limit_rule(record: Record) -> str:
    """A rule of a limit; that of nice counts down from 20 in the kernel, and not in a rule."""
    name, value = record["rlimit"], record["value"]
    if not re.fullmatch("[0-9]{1,20}", value):
        raise KeyError("limit that is a number")
    most = "infinity" if int(value) >= _UNLIMITED else value
    if name == "nice":
        if not 1 <= int(value) <= 2 * _NICE:
            raise KeyError("limit of nice that a rule can say")
        most = str(_NICE - int(value))
    return f"set rlimit {name} <= {most}"


_CHANGE = DenialClass(
    _change,
    lambda record: f"change_profile -> {record.target or record['name']}",
    {"change_profile": _forbids_change},
    _change_danger,
)
_STACK = DenialClass(
    _stack,
    _stack_rule,
    {"change_profile": lambda text, record: _forbids_change(text, record, "&")},
)
CLASSES = {
    "ptrace": DenialClass(
        _ptrace,
        lambda record: f"ptrace {record.access()} peer={record['peer']}",
        {"ptrace": all_hold},
        _peer_danger,
    ),
    "signal": DenialClass(
        _signal,
        lambda record: f"signal {record.access()} set=({record['signal']}) peer={record['peer']}",
        {"signal": all_hold},
        _peer_danger,
    ),
    "capable": DenialClass(
        lambda record: f"use the capability {record.shown('capname')}",
        lambda record: f"capability {record['capname']}",
        {"capability": _forbids_capability},
        lambda record: _CAPABILITIES.get(record.get("capname", ""), ""),
    ),
    "change_profile": _CHANGE,
    "change_onexec": _CHANGE,
    "stack": _STACK,
    "stack_onexec": _STACK,
    "change_hat": DenialClass(
        lambda record: f"change to the hat {record.shown('target')}",
        file_denials.rule,
        file_denials.DENY,
        _change_danger,
    ),
    "userns_create": DenialClass(
        lambda _: "make a user namespace",
        lambda _: "userns create",
        {"userns": lambda *_: True},
        lambda _: (
            "in a user namespace of its own a process has all capabilities, and reaches kernel "
            "code that is closed to it otherwise"
        ),
    ),
    "setrlimit": DenialClass(
        lambda record: (
            f"set the limit {record.shown('rlimit')} to {record.get('value', 'another value')}"
        ),
        _limit_rule,
        {"set": lambda text, record: text.split()[:2] == ["rlimit", record.get("rlimit", "")]},
    ),
    "policy": DenialClass(
        lambda record: (
            f"{record.shown('operation').removeprefix('profile_')} the AppArmor profile "
            f"{record.shown('name')}"
        ),
        file_denials.rule,
        file_denials.DENY,
        lambda _: "it may replace AppArmor's policy, also the profile itself",
    ),
}
