"""Property strings (``nesting=1,keyctl=1``), with Proxmox's complaints about them. No imports.

Wording: pve-common's ``PVE/JSONSchema.pm``. A complaint about an unknown key was recorded
(tests/pct, "create: unknown feature").
"""

TRUE, FALSE = ("1", "on", "yes", "true"), ("0", "off", "no", "false")
BOOLEAN, ANY = "boolean", "string"

FEATURES = {
    "force_rw_sys": BOOLEAN,
    "fuse": BOOLEAN,
    "keyctl": BOOLEAN,
    "mknod": BOOLEAN,
    "mount": "words",
    "nesting": BOOLEAN,
}
_NETWORK = {
    **dict.fromkeys(("firewall", "host-managed", "link_down"), BOOLEAN),
    **dict.fromkeys(("bridge", "gw", "gw6", "hwaddr", "ip", "ip6", "mtu", "name"), ANY),
    **dict.fromkeys(("rate", "tag", "trunks", "type"), ANY),
}
_KINDS = {"features": FEATURES, "net": _NETWORK}
_UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"


def truth(word: str) -> str:
    """``1`` or ``0`` for a word that Proxmox takes for a boolean, else an empty string."""
    lowered = word.lower()
    return "1" if lowered in TRUE else "0" if lowered in FALSE else ""


def problem(name: str, text: str, path: str = "") -> str:
    """What Proxmox says about an option's value: nothing, or lines with their ends.

    ``path`` is what Proxmox puts before a key that it names.
    """
    kinds = _KINDS.get(name.rstrip("0123456789"))
    return read(kinds, text, path)[1] if kinds else ""


def read(kinds: dict[str, str], text: str, path: str = "") -> tuple[dict[str, str], str]:
    """The properties, booleans as ``1`` and ``0``, and what is wrong with them."""
    found: dict[str, str] = {}
    for part in text.split(","):
        if not part.strip(" \t\n\r\f\v"):
            continue
        key, equals, value = part.partition("=")
        if equals and not (key and value):
            return found, "missing key in comma-separated list property\n"
        if not equals:
            return found, "value without key, but schema does not define a default key\n"
        if key in found:
            return found, f"duplicate key in comma-separated list property: {key}\n"
        found[key] = (truth(value) or value) if kinds.get(key) == BOOLEAN else value
    wrong = [(key, _wrong(kinds.get(key), value)) for key, value in sorted(found.items())]
    dotted = f"{path}." if path else ""
    said = "".join(f"{dotted}{key}: {words}\n" for key, words in wrong if words)
    return found, f"format error\n{said}" if said else ""


def _wrong(kind: str | None, value: str) -> str:
    if kind is None:
        return _UNKNOWN
    if kind == BOOLEAN and value not in {"0", "1"}:
        return f"type check ('boolean') failed - got '{value}'"
    if kind == "words" and not all(char.isalnum() or char in "_; " for char in value):
        return "value does not match the regex pattern"
    return ""
