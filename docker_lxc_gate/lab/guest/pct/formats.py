"""Features (``nesting=1,keyctl=1``), with Proxmox's complaints about them. No imports.

Wording: pve-common's ``PVE/JSONSchema.pm``. A complaint about an unknown key was recorded
(tests/pct, "create: unknown feature").
"""

TRUE, FALSE = ("1", "on", "yes", "true"), ("0", "off", "no", "false")
BOOLEAN, WORDS = "boolean", "words"

FEATURES = {
    **dict.fromkeys(("force_rw_sys", "fuse", "keyctl", "mknod", "nesting"), BOOLEAN),
    "mount": WORDS,
}
_UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"


def truth(word: str) -> str:
    """``1`` or ``0`` for a word that Proxmox takes for a boolean, else an empty string."""
    lowered = word.lower()
    return "1" if lowered in TRUE else "0" if lowered in FALSE else ""


def features(text: str, path: str = "") -> tuple[dict[str, str], str]:
    """The features, booleans as ``1`` and ``0``, and what Proxmox says is wrong with them.

    ``path`` is what Proxmox puts before a key that it names.
    """
    found: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        found[key] = (truth(value) or value) if FEATURES.get(key) == BOOLEAN else value
    wrong = [(key, _wrong(FEATURES.get(key), value)) for key, value in sorted(found.items())]
    said = "".join(f"{path}{key}: {words}\n" for key, words in wrong if words)
    return found, f"format error\n{said}" if said else ""


def _wrong(kind: str | None, value: str) -> str:
    if kind is None:
        return _UNKNOWN
    if kind == BOOLEAN and value not in {"0", "1"}:
        return f"type check ('boolean') failed - got '{value}'"
    return ""
