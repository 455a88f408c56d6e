"""What AppArmor denies on the lab, by operation, and the profile that denies it.

Each row is a program of ``denied_programs.py``. The profile is the one that the plan ships, under
another name, without the rules that the programs need.
"""

from dataclasses import dataclass
from pathlib import Path

NAME = "docker-lxc-gate-proof"
#: Of which a program is told to run under it, and which is not loaded.
ABSENT = f"{NAME}-absent"
_SHIPPED = Path(__file__).parents[3] / "remediation/content/lxc-phoenix-v2"
#: All that the node's kernel mediates, which is more than any abi file that AppArmor ships has.
ABI = f"abi <abi/{NAME}>,\n"

#: The operation that the kernel records of each program, which one rule allows.
ROWS = {
    **dict.fromkeys(("mount_new", "mount_odd", "mount_rbind", "mount_runbind"), "mount"),
    "remount_bind": "mount",
    "umount": "umount",
    "pivotroot": "pivotroot",
    **dict.fromkeys(("ptrace_trace", "ptrace_readby"), "ptrace"),
    **dict.fromkeys(("signal_realtime", "signal_exists", "signal_receive"), "signal"),
    "capable": "capable",
    "setrlimit": "setrlimit",
    "userns_create": "userns_create",
    "change_profile": "change_profile",
    "change_onexec": "change_onexec",
    "stack": "stack",
    **dict.fromkeys(("open_not_owned", "open_odd", "open_append"), "open"),
    **{each: each for each in ("mknod", "mkdir", "link", "rename_src", "chmod", "file_lock")},
    "file_mmap": "file_mmap",
    "exec": "exec",
    "sock_create": "create",
    "sock_bind": "bind",
    "sock_getname": "getsockname",
    "uring_sqpoll": "uring_sqpoll",
}


@dataclass(frozen=True)
class Advice:
    """What is said of a denial that no rule for what was recorded would allow.

    Attributes:
        operation: that the kernel records.
        words: of what is said.
        rule: that the words mean.
        others: else a text of the other profiles, and what the words mean there.
    """

    operation: str
    words: str
    rule: str = ""
    others: tuple[str, str] = ("", "")


_STRICT = f"profile {NAME}-strict "
_LOADED = (_STRICT, f"profile {ABSENT} {{ file, network, }}\n{_STRICT}")
ADVISED = {
    "profile_load": Advice("profile_load", "capability mac_admin", "capability mac_admin,"),
    "px_to_nothing": Advice("exec", "that one is not loaded", others=_LOADED),
    "no_label": Advice("change_onexec", "is not loaded", others=_LOADED),
    "disconnected": Advice(
        "mknod",
        "flags=(attach_disconnected)",
        others=(_STRICT, f"{_STRICT}flags=(attach_disconnected) "),
    ),
}
#: A ``deny`` of the shipped profile refuses it, whatever is added.
FORBIDDEN = "sysrq-trigger"
#: All that this kernel mediates, by directory of features. With another one, rows are missing here.
FEATURES = {
    *("capability", "caps", "domain", "file", "io_uring", "mount", "namespaces", "network_v8"),
    *("policy", "ptrace", "query", "rlimit", "signal"),
}
#: Not from inside a container: it owns no policy namespace.
ON_THE_NODE = ("profile_load",)
_KEPT_BACK = ("mac_admin", "sys_chroot", "sys_resource")
_LEFT_OUT = (
    *("unix (receive),", "unix peer=(label=@{profile_name}),", "dbus,", "network unix,"),
    *("network inet,", "network inet6,", "network netlink,", "network packet,"),
    *("signal (receive),", "ptrace (readby, tracedby),", "remount,", "umount,"),
    "audit deny /{,**/}sys/kernel/{debug,tracing,security}/** rwklx,",
    "include if exists <local/lxc-phoenix-v2>",
)
#: Below /mnt nothing but what is said here.
_FILES = f"""
  /{{,[^m]**,m[^n]**}} rwmlkix,
  /mnt/{{,free/{{,**}}}} rwmlk,
  /mnt/{{none,read}}/ r,
  /mnt/read/** r,
  /mnt/read/sent-elsewhere px -> {NAME}-absent,
  change_profile -> {NAME}-{{absent,strict}},
  set rlimit nofile <= 2048,
  network unix stream,
  profile hat {{ }}
"""
_ALL = "file, capability, network, unix, signal, ptrace, mount, userns, change_profile,"
#: Those that a program changes to, or comes from.
OTHERS = f"""
profile {NAME}-other flags=(attach_disconnected) {{ {_ALL} }}
profile {NAME}-entered flags=(attach_disconnected) {{ {_ALL} }}
profile {NAME}-stacked flags=(attach_disconnected) {{ {_ALL} }}
profile {NAME}-strict {{ {_ALL} }}
"""


def profile(capabilities: list[str]) -> str:
    """Return the copy.

    Args:
        capabilities: all that the node's kernel has.
    """
    text = _SHIPPED.read_text("utf-8")
    text = _replaced(text, "abi <abi/3.0>,\n", ABI)
    text = _replaced(text, "profile lxc-phoenix-v2 ", f"profile {NAME} ")
    text = _replaced(text, "\n  file,\n", _FILES)
    given = " ".join(each for each in capabilities if each not in _KEPT_BACK)
    text = _replaced(text, "\n  capability,\n", f"\n  capability {given},\n")
    for rule in _LEFT_OUT:
        text = _replaced(text, f"\n  {rule}\n", "\n")
    return text + OTHERS


def with_rules(text: str, rules: list[str]) -> str:
    """Return the copy with rules that were suggested, at the profile's end."""
    end = f"\n}}\n\nprofile {NAME}-other "
    added = "".join(f"\n  {rule}" for rule in rules)
    return _replaced(text, end, f"{added}{end}")


def advised(text: str, program: str) -> str:
    """Return the copy changed as the advice for a program says."""
    advice = ADVISED[program]
    if advice.rule:
        return with_rules(text, [advice.rule])
    return _replaced(text, *advice.others)


def _replaced(text: str, here: str, instead: str) -> str:
    assert text.count(here) == 1, f"{here!r} is in the profile {text.count(here)} times"
    return text.replace(here, instead)
