"""A corpus of AppArmor's records, as kernels, auditd and dbus-daemon write them."""

from __future__ import annotations

from pathlib import Path

_DATA = Path(__file__).parents[1] / "data/denials"
#: One record of each operation; at its end an enriched one, two in one line, and two that were cut.
CORPUS = _DATA / "audit.log"
#: The forms that the kernel's log and the journal have.
KERNEL = _DATA / "kern.log"
#: What docs/denials.md explains.
EXAMPLE = _DATA / "example.log"
