"""Denials of what processes exchange messages by: sockets, D-Bus, message queues, io_uring.

Source: kernel ``security/apparmor/net.c`` and dbus-daemon, which write the fields.
"""

from __future__ import annotations

import re

from facts.denial.denial_class import (
    DenialClass,
    Record,
    all_hold,
    grants,
    hold,
    parts_of,
    with_peer,
)
from facts.denial.profile_text import matches

#: The types of sockets that a rule can name.
_SOCKETS = frozenset({"stream", "dgram", "seqpacket", "rdm", "raw", "packet"})
#: The families that Docker, systemd and iproute2 use.
_FAMILIES = frozenset({"unix", "inet", "inet6", "netlink", "packet"})
_STARTS_UNITS = re.compile(r"org\.freedesktop\.(systemd1|login1|PolicyKit1|machine1)")


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
    return f"network {record['family']} {sort if sort in _SOCKETS else ''}".rstrip()


def _unix_rule(record: Record) -> str:
    """A rule of a socket; an address that a rule cannot say for certain is no condition."""
    of = Record({k: v for k, v in record.items() if not k.endswith("addr") or _is_abstract(v)})
    own = of.conditions(type="sock_type", addr="addr")
    return with_peer([f"unix {of.access()}", *own], of.conditions(label="peer", addr="peer_addr"))


def _is_abstract(address: str) -> bool:
    """Whether it is an abstract address in clear: the kernel writes others in hexadecimal."""
    name = re.fullmatch(r'"?@(.+?)"?', address)
    return bool(name) and not re.fullmatch("(?:[0-9A-F]{2})+", name[1])  # type: ignore[index]


def _socket_danger(record: Record) -> str:
    known = record.get("family") in _FAMILIES
    return "" if known else "kernel code that neither systemd nor Docker needs"


def _forbids_network(text: str, record: Record) -> bool:
    conditions, words, granted = parts_of(text)
    own = {record.get("family", ""), record.get("sock_type", "")}
    return not conditions and not granted and set(words) <= own


def _forbids_unix(text: str, record: Record) -> bool:
    return record.get("family") == "unix" and all_hold(text, record)


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
    return ", ".join(re.split(r"[ ,]+", record.denied)) or "use"


def _queue_rule(record: Record) -> str:
    if record["class"].startswith("sysv"):
        return f"mqueue {record.access()} type=sysv {record['name']}"
    return f"mqueue {record.access()} type=posix {record.path('name')}"


def _forbids_queue(text: str, record: Record) -> bool:
    conditions, words, granted = parts_of(text)
    names = [word for word in words if re.match("/|[0-9]", word)]
    sort = record.get("class", "").partition("_")[0]
    if "type" in conditions and conditions.pop("type")[1] != sort:
        return False
    access = [word for word in words if word not in names]
    named = not names or matches(names[0], record.get("name", ""))
    return named and grants(access, granted, record) and hold(conditions, record)


CLASSES = {
    "network": DenialClass(
        _socket_wanted,
        _socket_rule,
        {"network": _forbids_network, "unix": _forbids_unix},
        _socket_danger,
    ),
    "dbus": DenialClass(_dbus_wanted, _dbus_rule, {"dbus": all_hold}, _dbus_danger),
    "mqueue": DenialClass(
        lambda record: f"{_denied(record)} the message queue {record.shown('name')}",
        _queue_rule,
        {"mqueue": _forbids_queue},
    ),
    "io_uring": DenialClass(
        lambda record: f"use io_uring ({_denied(record)})",
        lambda record: " ".join(
            [f"io_uring {record.access()}", *record.conditions(label="tcontext")]
        ),
        {"io_uring": all_hold},
        lambda _: "what io_uring does passes by seccomp's filter of system calls",
    ),
}
