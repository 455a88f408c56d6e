"""Denials of what a process does to others and to itself: signals, sockets, capabilities, limits.

Sources: kernel ``security/apparmor/{ipc,net,task,domain,resource}.c``, and
dbus-daemon, which write the fields.
"""

from __future__ import annotations

from dataclasses import replace

from docker_lxc_gate import patterns
from docker_lxc_gate.facts.denial.denial_class import (
    KNOWN,
    DenialClass,
    Record,
    with_peer,
)
from docker_lxc_gate.facts.denial.path_denials import FILE

_SIGNALS = {"exists": "no signal (a look whether it exists)"}
#: No limit, as the kernel writes it; what the kernel's limit of nice and a rule's add up to.
_UNLIMITED, _NICE = (1 << 64) - 1, 20
_STARTS_UNITS = patterns.compile(r"org\.freedesktop\.(systemd1|login1|PolicyKit1|machine1)")


def _ptrace(record: Record) -> str:
    words = KNOWN.ptrace.get(record.get("denied_mask", ""), KNOWN.ptrace["trace"])
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


def _change(record: Record) -> str:
    late = " at its next exec" if record.get("operation", "").endswith("_onexec") else ""
    target = record.target or record.shown("name")
    if record.get("operation", "").startswith("stack"):
        return f"put the profile {target} on top of its own{late}"
    return f"change to the profile {target}{late}"


def _change_danger(record: Record) -> str:
    target = record.target or "another one"
    return f"it leaves this profile for {target}, whose rules hold from then on"


def _stack_rule(record: Record) -> str:
    """A rule to put another profile on top of the process's own."""
    target = record.target or record["name"]
    quote = '"' * target.startswith('"')
    return f"change_profile -> {quote}&{target.removeprefix(quote)}"


def _limit_rule(record: Record) -> str:
    """A rule of a limit; that of nice counts down from 20 in the kernel, and not in a rule."""
    name, value = record["rlimit"], record["value"]
    if not patterns.fullmatch("[0-9]{1,20}", value):
        raise KeyError("limit that is a number")
    most = "infinity" if int(value) >= _UNLIMITED else value
    if name == "nice":
        if not 1 <= int(value) <= 2 * _NICE:
            raise KeyError("limit of nice that a rule can say")
        most = str(_NICE - int(value))
    return f"set rlimit {name} <= {most}"


def _socket_wanted(record: Record) -> str:
    operation, family = record.get("operation", ""), record["family"]
    socket = f"{family} {record.get('sock_type', '')}".rstrip()
    if operation == "create":
        return f"open a socket ({socket})"
    peer = record.get("peer_addr", "none")
    whom = f" to {peer}" if peer != "none" else ""
    label = f" of a process under {record['peer']}" if record.get("peer") else ""
    own = record.get("addr", "none")
    return (
        f"{operation or 'use'}{f' {own}' if own != 'none' else ''}{whom}{label} (socket {socket})"
    )


def _socket_rule(record: Record) -> str:
    if record["family"] == "unix" and {"addr", "peer_addr", "peer"} & record.keys():
        return _unix_rule(record)
    sort = record.get("sock_type", "")
    return f"network {record['family']} {sort if sort in KNOWN.sockets['types'] else ''}".rstrip()


def _unix_rule(record: Record) -> str:
    """A rule of a socket; an address that a rule cannot say for certain is no condition."""
    of = Record({k: v for k, v in record.items() if not k.endswith("addr") or _is_abstract(v)})
    own = of.conditions(type="sock_type", addr="addr")
    return with_peer([f"unix {of.access()}", *own], of.conditions(label="peer", addr="peer_addr"))


def _is_abstract(address: str) -> bool:
    """Whether it is an abstract address in clear: the kernel writes others in hexadecimal."""
    name = patterns.fullmatch(r'"?@(.+?)"?', address)
    return bool(name) and not patterns.fullmatch("(?:[0-9A-F]{2})+", name[1])  # type: ignore[index]


def _socket_danger(record: Record) -> str:
    known = record.get("family") in KNOWN.sockets["families"]
    return "" if known else "kernel code that neither systemd nor Docker needs"


def _dbus_wanted(record: Record) -> str:
    bus, mask = f"the {record.get('bus', 'D-Bus')} bus", record.get("mask", "")
    if mask == "bind":
        return f"own the name {record.shown('name')} on {bus}"
    if mask == "eavesdrop":
        return f"listen to others on {bus}"
    what = f"{record.get('interface', '')}.{record.get('member', '')}".strip(".") or "a message"
    verb = "receive" if mask == "receive" else "send"
    where = f" of {record['path']}" if record.get("path") else ""
    return f"{verb} {what}{where} on {bus}"


def _dbus_rule(record: Record) -> str:
    mask = record["mask"]
    own = record.conditions(bus="bus")
    if mask == "bind":
        own += record.conditions(name="name")
    elif mask != "eavesdrop":
        own += record.conditions(path="path", interface="interface", member="member")
    label = "peer_label" if "peer_label" in record else "peer_profile"
    peer = record.conditions(**({"name": "name"} if mask == "send" else {}), label=label)
    return with_peer([f"dbus ({mask})", *own], peer if mask in {"send", "receive"} else [])


def _dbus_danger(record: Record) -> str:
    if _STARTS_UNITS.search(f"{record.get('name', '')} {record.get('interface', '')}"):
        return "by this service programs are started outside the profile"
    return "it hears what others say" if record.get("mask") == "eavesdrop" else ""


def _denied(record: Record) -> str:
    return ", ".join(patterns.split(r"[ ,]+", record.denied)) or "use"


def _queue_rule(record: Record) -> str:
    if record["class"].startswith("sysv"):
        return f"mqueue {record.access()} type=sysv {record['name']}"
    return f"mqueue {record.access()} type=posix {record.path('name')}"


_CHANGE = DenialClass(
    _change,
    lambda record: f"change_profile -> {record.target or record['name']}",
    _change_danger,
)
_STACK = DenialClass(_change, _stack_rule)
CLASSES = {
    "ptrace": DenialClass(
        _ptrace,
        lambda record: f"ptrace {record.access()} peer={record['peer']}",
        _peer_danger,
        nests=True,
    ),
    "signal": DenialClass(
        _signal,
        lambda record: f"signal {record.access()} set=({record['signal']}) peer={record['peer']}",
        _peer_danger,
        nests=True,
    ),
    "capable": DenialClass(
        lambda record: f"use the capability {record.shown('capname')}",
        lambda record: f"capability {record['capname']}",
        lambda record: KNOWN.capabilities.get(record.get("capname", ""), ""),
    ),
    "change_profile": _CHANGE,
    "change_onexec": _CHANGE,
    "stack": _STACK,
    "stack_onexec": _STACK,
    "change_hat": replace(
        FILE,
        wanted=lambda record: f"change to the hat {record.shown('target')}",
        danger=_change_danger,
    ),
    "userns_create": DenialClass(
        lambda _: "make a user namespace",
        lambda _: "userns create",
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
    ),
    "policy": replace(
        FILE,
        wanted=lambda record: (
            f"{record.shown('operation').removeprefix('profile_')} the AppArmor profile "
            f"{record.shown('name')}"
        ),
        danger=lambda _: "it may replace AppArmor's policy, also the profile itself",
        tells=lambda record: record.get("operation", "").startswith("profile_"),
    ),
    "dbus": DenialClass(
        _dbus_wanted,
        _dbus_rule,
        _dbus_danger,
        tells=lambda record: record.get("operation", "").startswith("dbus_"),
    ),
    "mqueue": DenialClass(
        lambda record: f"{_denied(record)} the message queue {record.shown('name')}",
        _queue_rule,
        tells=lambda record: record.get("class", "").endswith("mqueue"),
    ),
    "io_uring": DenialClass(
        lambda record: f"use io_uring ({_denied(record)})",
        lambda record: " ".join(
            [f"io_uring {record.access()}", *record.conditions(label="tcontext")]
        ),
        lambda _: "what io_uring does passes by seccomp's filter of system calls",
        lambda record: (
            record.get("class") == "io_uring" or record.get("operation", "").startswith("uring_")
        ),
    ),
    "network": DenialClass(
        _socket_wanted,
        _socket_rule,
        _socket_danger,
        lambda record: bool(record.get("family")),
    ),
}
