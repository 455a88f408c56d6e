"""What a denied process wanted, in words for a reader.

Sources: apparmor.d(5); kernel ``security/apparmor/include/audit.h`` (the operations).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from facts.audit.audit_records import kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: What a file was opened for, by the letters of the mask.
_ACCESS = {
    "r": "read",
    "w": "write",
    "a": "append to",
    "c": "create",
    "d": "delete",
    "m": "map as a program",
    "k": "lock",
    "l": "link",
    "x": "run",
}
#: A profile that LXC makes for one container; its own for those without nesting.
_GENERATED = re.compile(r"lxc-[^\s/<>]{1,200}_<")
_WITHOUT_NESTING = re.compile(r"lxc-container-default(?:-cgns)?")
#: What an operation on a file says by itself.
_FILE_VERBS = {
    "mkdir": "make the directory",
    "rmdir": "remove the directory",
    "mknod": "create",
    "unlink": "delete",
    "symlink": "make the symbolic link",
    "truncate": "truncate",
    "rename_src": "rename",
    "rename_dest": "rename something to",
    "chmod": "change the mode of",
    "chown": "change the owner of",
    "exec": "run",
    "file_lock": "lock",
    "getattr": "look at the state of",
}
#: A process calls itself as it likes; what looks like words of a sentence is quoted.
_NAME = re.compile(r"[\w.:/()\[\]+-]+")
_SIGNALS = {"exists": "no signal (a look whether it exists)"}
_PROPAGATION = ("private", "slave", "shared", "unbindable")
_PTRACE = {
    "read": "look into a process under {peer} (ptrace read)",
    "trace": "trace a process under {peer}",
    "readby": "be looked into by a process under {peer} (ptrace readby)",
    "tracedby": "be traced by a process under {peer}",
}


def wanted(fields: Mapping[str, str]) -> str:
    """Return what was tried, as it follows "wanted to"; of whatever fields, some text.

    Args:
        fields: of a record.
    """
    words = _BY_KIND.get(kind(fields), _file if "name" in fields else _unknown)
    return words(fields)


def who(programs: list[str]) -> str:
    """Return the programs as a sentence begins with them."""
    names = [each if _NAME.fullmatch(each) else f'"{each}"' for each in programs] or ["a process"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def where(fields: Mapping[str, str]) -> str:
    """Return where a rule for what was denied has to be written; empty: in the profile's own file.

    Args:
        fields: of the record.
    """
    profile = fields.get("profile", "")
    if fields.get("namespace"):
        return (
            f"in {profile or 'the profile'} as the container itself loads it: Docker's own profile "
            "is replaced by --security-opt apparmor=NAME"
        )
    if _GENERATED.match(profile):
        return (
            "LXC generates this profile, so no file has it: lxc.apparmor.raw: RULE in the "
            "container's configuration, and restart it"
        )
    if _WITHOUT_NESTING.fullmatch(profile):
        return (
            "not in LXC's own profile for containers without nesting: give the container nesting "
            "first (Proxmox: nesting=1 in features), and restart it"
        )
    return ""


def _get(fields: Mapping[str, str], key: str) -> str:
    return fields.get(key) or f"(the record has no {key})"


def _unknown(fields: Mapping[str, str]) -> str:
    return f"do what AppArmor calls {_get(fields, 'operation')} (the record does not name what)"


def _denied(fields: Mapping[str, str]) -> str:
    said = fields.get("denied_mask") or fields.get("denied") or ""
    return ", ".join(re.split(r"[ ,]+", said)) or "use"


def _mount(fields: Mapping[str, str]) -> str:
    name, flags = _get(fields, "name"), fields.get("flags", "")
    words = [word.strip() for word in flags.split(",")]
    said = f" ({flags})" if flags else ""
    for each in _PROPAGATION:
        for flag in (each, f"r{each}", f"make-{each}", f"make-r{each}"):
            if flag in words:
                below = " and all mounts below it" if flag.startswith(("r", "make-r")) else ""
                return f"make the mount {name}{below} {each}{said}"
    source = fields.get("srcname", "")
    if "remount" in words:
        return f"remount {name}{said}"
    if "bind" in words or "rbind" in words:
        return f"bind {source or 'something'} on {name}{said}"
    if "move" in words:
        what = source or "a mount that has no place yet (of the new mount calls)"
        return f"move {what} to {name}{said}"
    made = f"a file system of type {fields['fstype']}" if fields.get("fstype") else "a file system"
    origin = f" from {source}" if source and source != fields.get("fstype") else ""
    return f"mount {made}{origin} on {name}{said}"


def _signal(fields: Mapping[str, str]) -> str:
    signal = _get(fields, "signal")
    name = _SIGNALS.get(signal, f"the signal {signal}")
    if "receive" in fields.get("denied_mask", ""):
        return f"receive {name} from a process under {_get(fields, 'peer')}"
    return f"send {name} to a process under {_get(fields, 'peer')}"


def _ptrace(fields: Mapping[str, str]) -> str:
    words = _PTRACE.get(fields.get("denied_mask", ""), "trace a process under {peer}")
    return words.format(peer=_get(fields, "peer"))


def _file(fields: Mapping[str, str]) -> str:
    name, operation = _get(fields, "name"), fields.get("operation", "")
    target = fields.get("target")
    if operation == "link":
        return f"make the hard link {name} to {target or '(the record has no target)'}"
    if verb := _FILE_VERBS.get(operation):
        return f"{verb} {name}"
    letters = re.sub(r"[^a-z]", "", fields.get("denied_mask", ""))
    verbs = list(dict.fromkeys(_ACCESS.get(letter, letter) for letter in letters))
    return f"{' and '.join(verbs) or operation or 'use'} {name}"


def _socket(fields: Mapping[str, str]) -> str:
    operation, family = fields.get("operation", ""), fields["family"]
    socket = f"{family} {fields.get('sock_type', '')}".rstrip()
    if operation == "create":
        return f"open a socket ({socket})"
    peer = fields.get("peer_addr", "none")
    whom = f" to {peer}" if peer != "none" else ""
    label = f" of a process under {fields['peer']}" if fields.get("peer") else ""
    own = fields.get("addr", "none")
    return (
        f"{operation or 'use'}{f' {own}' if own != 'none' else ''}{whom}{label} (socket {socket})"
    )


def _dbus(fields: Mapping[str, str]) -> str:
    bus, mask = f"the {fields.get('bus', 'D-Bus')} bus", fields.get("mask", "")
    if mask == "bind":
        return f"own the name {_get(fields, 'name')} on {bus}"
    if mask == "eavesdrop":
        return f"listen to others on {bus}"
    what = f"{fields.get('interface', '')}.{fields.get('member', '')}".strip(".") or "a message"
    verb = "receive" if mask == "receive" else "send"
    where = f" of {fields['path']}" if fields.get("path") else ""
    return f"{verb} {what}{where} on {bus}"


def _profile(fields: Mapping[str, str]) -> str:
    target = fields.get("target") or _get(fields, "name")
    late = " at its next exec" if fields.get("operation", "").endswith("_onexec") else ""
    if fields.get("operation", "").startswith("stack"):
        return f"put the profile {target} on top of its own{late}"
    return f"change to the profile {target}{late}"


_BY_KIND: dict[str, Callable[[Mapping[str, str]], str]] = {
    "mqueue": lambda said: f"{_denied(said)} the message queue {_get(said, 'name')}",
    "io_uring": lambda said: f"use io_uring ({_denied(said)})",
    "dbus": _dbus,
    "network": _socket,
    "policy": lambda said: (
        f"{_get(said, 'operation').removeprefix('profile_')} the AppArmor profile "
        f"{_get(said, 'name')}"
    ),
    "mount": _mount,
    "remount": lambda said: f"remount {_get(said, 'name')}",
    "umount": lambda said: f"unmount {_get(said, 'name')}",
    "pivotroot": lambda said: f"make {_get(said, 'name')} its root (pivot_root)",
    "ptrace": _ptrace,
    "signal": _signal,
    "capable": lambda said: f"use the capability {_get(said, 'capname')}",
    "change_profile": _profile,
    "change_onexec": _profile,
    "stack": _profile,
    "stack_onexec": _profile,
    "change_hat": lambda said: f"change to the hat {_get(said, 'target')}",
    "userns_create": lambda _: "make a user namespace",
    "setrlimit": lambda said: (
        f"set the limit {_get(said, 'rlimit')} to {said.get('value', 'another value')}"
    ),
}
