"""What cannot work in a target, known before anything is asked, and what to write instead."""

from __future__ import annotations

import ipaddress
import math
import re
import shlex
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_type_hints

from targets.ssh import ssh_config

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from targets.target import Target

#: Proxmox's own range (pct.adm: ids below 100 are reserved).
_CTIDS = range(100, 1_000_000_000)
_PORTS = range(1, 1 << 16)
#: What ``create`` and ``provision`` may hold in braces; ``${HOME}`` is a shell's.
_PLACEHOLDER = re.compile(r"(?<!\$)\{\w*\}")
#: An image as Docker names it. Source: github.com/distribution/reference, regexp.go.
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_NAME = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG, _DIGEST = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", r"[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,}"
_IMAGE = re.compile(rf"(?:{_DOMAIN}/)?{_NAME}(?::{_TAG})?(?:@{_DIGEST})?")
_REGISTRY = re.compile(rf"{_DOMAIN}(?:/{_NAME})?")
_HOST = 'a host name, an alias of ~/.ssh/config, "local" or "lab"'
#: Keys that say nothing when they are empty, and what they hold.
_NEVER_EMPTY = {
    "host": _HOST,
    "user": "whom to log in as",
    "storage": "a storage of the node (pvesm status)",
    "bridge": "a bridge of the node (ip -br link)",
    "repository": "the directory of phoenix's checkout; without one, leave it out",
    "image": "what Docker runs",
}
#: What to write for a key of a type, by what msgspec calls it.
_WRITTEN = {
    "int": "{key} = NUMBER, without quotes",
    "float": "{key} = NUMBER, without quotes",
    "str": '{key} = "TEXT", in quotes',
    "bool": "{key} = true or {key} = false, without quotes",
    "array": "{key} = [951, 952]",
}


def wrong(target: Target) -> Iterator[tuple[str, str]]:
    """Yield each key whose value cannot work, and what to write instead."""
    for key, meaning in _NEVER_EMPTY.items():
        value: str | None = getattr(target, key)
        if value is not None and not value.strip():
            yield key, f"is empty; expected {meaning}"
    if said := _no_host(target.host):
        yield "host", said
    yield from _wrong_numbers(target)
    yield from _wrong_places(target)
    if target.digest and not re.fullmatch(r"sha256:[0-9a-f]{64}", target.digest):
        form = "sha256: and 64 hexadecimal digits, as docker pull shows it"
        yield "digest", f"{target.digest!r} is no digest of an image; expected {form}"
    for jump in target.jump.split(",") if target.jump else []:
        match = re.fullmatch(ssh_config.FORM, jump)
        if match is None or int(match["port"] or _PORTS[0]) not in _PORTS:
            yield "jump", f"{jump!r}: expected [USER@]HOST[:PORT], more of them with commas between"
    for key, line in (("create", target.create), ("provision", target.provision)):
        try:
            shlex.split(line)
        except ValueError as error:
            yield key, f"{line!r}: {error}; expected a command line"
        for unknown in {*_PLACEHOLDER.findall(line)} - {"{ctid}"}:
            yield key, f"{line!r}: {unknown} is not known; write {{ctid}}"


def _wrong_places(target: Target) -> Iterator[tuple[str, str]]:
    for key, path in (("repository", target.repository), ("backups", target.backups)):
        if path.strip() and not path.startswith("/"):
            yield key, f"{path!r} is not absolute; expected a directory of the node, as /srv/{key}"
    if target.image.strip() and not _IMAGE.fullmatch(target.image):
        yield "image", f"{target.image!r} is no reference of an image; expected NAME[:TAG][@DIGEST]"
    if target.registry and not _REGISTRY.fullmatch(target.registry):
        yield "registry", f"{target.registry!r}: expected HOST[:PORT][/PATH]"


def _wrong_numbers(target: Target) -> Iterator[tuple[str, str]]:
    reserved = target.reserved
    for key, ctid in (("ctid", target.ctid), *(("reserved", each) for each in reserved)):
        if ctid not in _CTIDS:
            yield key, f"{ctid} is no container id; expected {_CTIDS[0]} to {_CTIDS[-1]}"
    if target.ctid in reserved:
        why = f"holds {target.ctid}, the target's own ctid, and reserved containers are destroyed"
        yield "reserved", f"{why}; write others, or none: reserved = []"
    if twice := [ctid for ctid in reserved if reserved.count(ctid) > 1]:
        yield "reserved", f"holds {twice[0]} more than once; write each id once"
    if target.port is not None and target.port not in _PORTS:
        yield "port", f"{target.port} is no port; expected {_PORTS[0]} to {_PORTS[-1]}"
    if not 0 < target.backup_age < math.inf:  # TOML has nan, too
        yield "backup_age", f"is {target.backup_age:g}; expected hours, more than 0"


def _no_host(host: str) -> str:
    """Return what to write instead of a host that is more than that, or none; empty: it is one."""
    if match := re.fullmatch(ssh_config.FORM, host):
        said = {"user": match["user"] and f'"{match["user"]}"', "port": match["port"]}
        more = [f"{key} = {value}" for key, value in said.items() if value]
        alone = match["host"].strip("[]")
        write = " and ".join([f'host = "{alone}"', *more])
        return f"{host!r} is more than a host; write {write}" if more or alone != host else ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return f"{host!r} is no host; expected {_HOST}"
    return ""


def no_identity(path: str) -> str:
    """Return why a target file's ``identity`` cannot be read, and what to write; empty: it can."""
    try:
        if not path or Path(path).expanduser().is_file():
            return ""
    except RuntimeError:  # ~somebody who is not there
        pass
    return (
        f"{path!r} is no file; write the path of a private key on this machine, or leave it out: "
        "then the agent's and those in ~/.ssh are offered"
    )


def unknown(keys: Iterable[str], struct: type[Target]) -> str:
    """Return which keys are none of a target's, and which may be meant; empty: all are."""
    known = struct.__struct_fields__
    said = []
    for key in (each for each in keys if each not in known):
        meant = get_close_matches(key, known, 1)
        said.append(f"{key} (did you mean {meant[0]}?)" if meant else key)
    return f"no such key: {', '.join(said)}; the keys are: {', '.join(known)}" if said else ""


def advice(said: str, path: str, struct: type[Target]) -> str:
    """Return what to write where msgspec says what a value is and is not.

    Args:
        said: msgspec's words.
        path: where, as ``.reserved[1]``.
        struct: what was expected there.
    """
    key = re.sub(r"\W.*", "", path[1:])
    if "missing required field" in said:
        return '; a target has at least host = "HOST" and ctid = NUMBER'
    if "enum value" in said:
        return f"; expected one of: {', '.join(get_args(get_type_hints(struct)[key]))}"
    expected = re.match(r"Expected `(\w+)", said)
    kind = "array" if "[" in path else expected[1] if expected else ""
    return f"; write {_WRITTEN[kind].format(key=key)}" if kind in _WRITTEN else ""
