"""What `pct` does to a file that somebody edited: cases as data.

Not recordings: each is a sentence of what was learned on the node of the recordings, with the
words of pve-container's source (``PVE/LXC/Config.pm``, ``PVE/LXC.pm``, ``lxc-pve-poststop-hook``).

In a file, a line ``@keys`` stands for the container's own keys as Proxmox writes them, sorted;
``@reversed`` for the same in the other order; ``@without NAME …`` for them without some.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Behaviour:
    """One call on a container with an edited file: the words that it must say, the file after it.

    ``out`` and ``err`` are parts of the outputs; ``None``: that output says nothing at all.
    ``after`` is the whole file; ``None``: as it was.
    """

    name: str
    before: str
    argv: tuple[str, ...]
    running: bool = False
    exit: int = 0
    out: str | None = ""
    err: str | None = ""
    after: str | None = None


STOP, START = ("pct", "stop", "200"), ("pct", "start", "200")
CONFIG = ("pct", "config", "200")
_PROFILE = "lxc.apparmor.profile: unconfined\n"
_OVERRIDES = "explicitly configured lxc.apparmor.profile overrides the following settings: "
_UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
_EDITED = """\
@reversed

# von Hand: Büro
lxc.environment = A=1
nonsense
  memory: 600
 # indented
#second
"""
_NORMAL = """\
# von Hand%3A B%C3%BCro
#second
@keys
lxc.environment: A=1
"""

AT_A_STOP = (
    Behaviour("stop: the file is normalised", _EDITED, STOP, running=True, after=_NORMAL),
    Behaviour(
        "stop: what is pending comes into effect",
        "@keys\n\n[pve:pending]\ndelete: swap\nonboot: 1\n",
        STOP,
        running=True,
        after="@without swap\nonboot: 1\n",
    ),
    Behaviour(
        "stop: a wrong value is kept",
        "@without features\nfeatures: nesting=1,fusion=1\n",
        STOP,
        running=True,
        after="@without features\nfeatures: nesting=1,fusion=1\n",
    ),
    Behaviour(
        "stop: an explicit profile stays",
        f"@without features\nfeatures: fuse=1,keyctl=1,nesting=1\n{_PROFILE}",
        STOP,
        running=True,
        err=None,
        after=f"@without features\nfeatures: fuse=1,keyctl=1,nesting=1\n{_PROFILE}",
    ),
    Behaviour(
        "set: an explicit profile overrides features",
        f"@without features\nfeatures: mount=nfs,nesting=on\n{_PROFILE}",
        ("pct", "set", "200", "--onboot", "0"),
        err=f"{_OVERRIDES}features:nesting, features:mount\n",
        after=f"@without features\nfeatures: mount=nfs,nesting=on\nonboot: 0\n{_PROFILE}",
    ),
)

_DROPPED = tuple(
    Behaviour(
        f"config: {what}",
        f"@keys\n{line}\n",
        CONFIG,
        err=f"vm 200 - unable to parse config: {line}\n",
    )
    for what, line in {
        "a blank before the colon": "onboot : 1",
        "an equals sign for a key": "onboot = 1",
        "an indented key": " onboot: 1",
        "an indented comment": "  # about",
        "a blank before a raw colon": "lxc.apparmor.profile : x",
        "an indented raw line": " lxc.apparmor.profile: x",
        "a section that begins with a digit": "[2024-backup]",
        "a section of one letter": "[b]",
        "a section with a blank": "[a b]",
    }.items()
)
READING = (
    *_DROPPED,
    Behaviour(
        "config: below a header that is none, lines are in effect, and the last one wins",
        "@keys\nonboot: 1\n[2024-backup]\nonboot: 0\n",
        CONFIG,
        out="\nonboot: 0\n",
        err="vm 200 - unable to parse config: [2024-backup]\n",
    ),
    Behaviour(
        "config: a section in capitals is a snapshot",
        "@keys\n\n[BEFORE_2-4]\nonboot: 1\n",
        CONFIG,
        err=None,
    ),
    Behaviour(
        "config: booleans have many words",
        "@keys\nonboot: YES\n",
        CONFIG,
        out="onboot: 1\n",
        err=None,
    ),
    Behaviour(
        "config: an equals sign is for raw lines",
        "@keys\nlxc.environment   =   A=1\n",
        CONFIG,
        out="lxc.environment: A=1\n",
        err=None,
    ),
    Behaviour(
        "config: names of before LXC 3 are kept",
        "@keys\nlxc.aa_profile: unconfined\n",
        CONFIG,
        out="lxc.aa_profile: unconfined\n",
        err="vm 200 - lxc.aa_profile is deprecated and was renamed to lxc.apparmor.profile\n",
    ),
    Behaviour(
        "config: an unknown feature is kept",
        "@without features\nfeatures: fusion=1\n",
        CONFIG,
        out="features: fusion=1\n",
        err=None,
    ),
    Behaviour(
        "config: an unknown key is kept",
        "@keys\nzzz: 1\n",
        CONFIG,
        out="zzz: 1\n",
        err="vm 200 - unable to parse value of 'zzz' - unknown setting 'zzz'\n",
    ),
)

STARTS = (
    Behaviour(
        "start: an unknown feature",
        "@without features\nfeatures: nesting=1,fusion=1\n",
        START,
        exit=255,
        err=f"format error\nfusion: {_UNKNOWN}\n",
    ),
    Behaviour(
        "start: a feature that is neither on nor off",
        "@without features\nfeatures: nesting=maybe\n",
        START,
        exit=255,
        err="format error\nnesting: type check ('boolean') failed - got 'maybe'\n",
    ),
)

ALL = (*AT_A_STOP, *READING, *STARTS)


def file(template: str, keys: list[str]) -> str:
    """A case's file for a container with these keys, each a sorted line without its end."""
    lines: list[str] = []
    for line in template.split("\n"):
        word, *names = line.split(" ")
        if word == "@keys":
            lines += keys
        elif word == "@reversed":
            lines += reversed(keys)
        elif word == "@without":
            lines += [key for key in keys if key.partition(":")[0] not in names]
        else:
            lines.append(line)
    return "\n".join(lines)


def normal(template: str, keys: list[str]) -> str:
    """The same, with each section's own keys in Proxmox's order."""
    head, header, tail = file(template, keys).partition("\n[")
    lines = head.removesuffix("\n").split("\n")
    about = [line for line in lines if line.startswith("#")]
    raw = [line for line in lines if line.startswith("lxc.")]
    plain = sorted(line for line in lines if not line.startswith(("#", "lxc.")))
    return "\n".join([*about, *plain, *raw]) + "\n" + header + tail
