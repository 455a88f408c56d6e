"""Names of files in AppArmor's directories. Source: libapparmor, private.c."""

from __future__ import annotations

#: How a file's name ends that apparmor_parser skips in a directory.
SKIPPED = (
    *(".dpkg-new", ".dpkg-old", ".dpkg-dist", ".dpkg-bak", ".dpkg-remove", ".pacsave", ".pacnew"),
    *(".rpmnew", ".rpmsave", ".orig", ".rej", "~"),
)


def is_skipped(name: str) -> bool:
    """Whether apparmor_parser skips a file in a directory that it reads whole, by its name."""
    return name.startswith((".", "README")) or name.endswith(SKIPPED)
