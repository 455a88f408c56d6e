"""The plan's additions to phoenix's two scripts."""

from __future__ import annotations

from importlib.resources import files as package_files

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from remediation import phoenix


def block(name: str) -> str:
    """Return the lines that the plan adds to a script, by the name of their file here."""
    return (package_files("remediation.phoenix") / name).read_text()


def setup_script(text: bytes | None) -> bytes:
    """Return the setup script with the plan's two lines before AppArmor is reloaded."""
    return _inserted(
        text,
        block("setup_apparmor_block.sh"),
        r"^echo 'Reloading|^[ \t]*systemctl reload apparmor",
        phoenix.SETUP_SCRIPT,
    )


#: The text between the two headings, where our block stands.
_FORMER_BLOCK = patterns.compile(rb"(?sm)^# --- Storage driver ---\n.*?(^# --- Docker ---)")


def install_script(text: bytes | None) -> bytes:
    """Return the install script with ``set -e`` and fuse-overlayfs, before Docker itself.

    The script runs on the node, so the plan's literal lines would install fuse-overlayfs there.
    The block runs them in the container instead, as the script does.
    """
    ours = block("install_docker_block.sh")
    if text is not None and ours.encode() not in text:
        text = _FORMER_BLOCK.sub(lambda match: match[1], text)  # of an earlier version
    inserted = _inserted(text, ours, r"^# --- Docker ---", phoenix.INSTALL_SCRIPT)
    changed = inserted.decode(errors="surrogateescape")
    for function in ("inside", "installed", "fail"):
        if not patterns.search(rf"(?m)^{function}\(\)", changed):
            raise FactError(
                f"{phoenix.INSTALL_SCRIPT} has no function {function}(): edit it by hand"
            )
    if not patterns.search(r"(?m)^set -\w*e", changed):
        changed = patterns.sub(
            r"\A(?:#.*\n)*\n?", lambda match: f"{match[0]}set -e\n\n", changed, 1
        )
    return changed.encode(errors="surrogateescape")


def _inserted(text: bytes | None, block: str, before: str, path: str) -> bytes:
    """Return the text with the block, once, before the first line that matches.

    Bytes that are not UTF-8, for instance in a comment, are kept.
    """
    if text is None:
        raise FactError(f"{path} is not in the repository")
    script = text.decode(errors="surrogateescape")
    if block in script:
        return text
    anchor = patterns.search(f"(?m){before}", script)
    if anchor is None:
        raise FactError(f"{path}: no line matches {before!r}, so there is no place for:\n{block}")
    edited = script[: anchor.start()] + block + script[anchor.start() :]
    return edited.encode(errors="surrogateescape")
