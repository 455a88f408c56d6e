"""The kernel's capabilities, by the names that AppArmor and LXC know. Source: capabilities(7)."""

from __future__ import annotations

import difflib

NAMES = frozenset(
    name
    for row in (
        "audit_control audit_read audit_write block_suspend bpf checkpoint_restore chown",
        "dac_override dac_read_search fowner fsetid ipc_lock ipc_owner kill lease linux_immutable",
        "mac_admin mac_override mknod net_admin net_bind_service net_broadcast net_raw perfmon",
        "setfcap setgid setpcap setuid sys_admin sys_boot sys_chroot sys_module sys_nice sys_pacct",
        "sys_ptrace sys_rawio sys_resource sys_time sys_tty_config syslog wake_alarm",
    )
    for name in row.split()
)


def perhaps(name: str) -> str:
    """Return which capability may be meant, as a sentence; empty if none is like it."""
    bare = name[:60].lower().removeprefix("cap_")
    like = difflib.get_close_matches(bare, sorted(NAMES), 1, 0.7)
    return f"Perhaps {like[0]} is meant." if like else ""
