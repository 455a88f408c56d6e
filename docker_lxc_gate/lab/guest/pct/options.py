"""The command line, read as Perl's Getopt::Long and Proxmox's schema read it. No imports."""

from . import formats
from .errors import PctError

BOOLEAN, INTEGER, STRING, FEATURES = "boolean", "integer", "string", "features"

CONFIG = {
    "features": FEATURES,
    **dict.fromkeys(("onboot", "protection", "unprivileged"), BOOLEAN),
    **dict.fromkeys(("cores", "memory", "swap", "tty"), INTEGER),
    **dict.fromkeys(("arch", "cpulimit", "description", "hostname", "lock"), STRING),
    **dict.fromkeys(("nameserver", "ostype", "rootfs", "startup", "tags"), STRING),
    **{f"net{index}": STRING for index in range(10)},
}

# command: (positional arguments, options)
COMMANDS = {
    "config": ("<vmid>", {"current": BOOLEAN}),
    "create": ("<vmid> <ostemplate>", CONFIG),
    "destroy": ("<vmid>", {}),
    "exec": ("<vmid> [<extra-args>]", {"keep-env": BOOLEAN}),
    "list": ("", {}),
    "push": ("<vmid> <file> <destination>", {"perms": STRING}),
    "set": ("<vmid>", {**CONFIG, "delete": STRING}),
    "shutdown": ("<vmid>", {"timeout": INTEGER, "forceStop": BOOLEAN}),
    "start": ("<vmid>", {}),
    "status": ("<vmid>", {}),
    "stop": ("<vmid>", {}),
}


def parse(command: str, words: list[str]) -> tuple[list[str], dict[str, str]]:
    """The positional arguments and the options of one command.

    Options are found anywhere up to ``--``, as Getopt::Long permutes. For ``exec`` whatever
    follows the container's id is the command to run. A PctError has Proxmox's usage text, exit 2.
    """
    synopsis, known = COMMANDS[command]
    usage = f"pct {command} {synopsis} [OPTIONS]\n".replace("  ", " ")
    positional, options, complaints = _split(words, known)
    if complaints:
        raise PctError(f"{''.join(complaints)}400 unable to parse option\n{usage}", 2)
    wanted = [name.strip("<>") for name in synopsis.split() if name.startswith("<")]
    if len(positional) < len(wanted):
        raise PctError(f"400 not enough arguments\n{usage}", 2)
    if len(positional) > len(wanted) and command != "exec":
        raise PctError(f"400 too many arguments\n{usage}", 2)
    problems = [("vmid", _id_problem(positional[0]))] if wanted else []
    problems += [(name, _problem(known[name], value)) for name, value in options.items()]
    found = "".join(f"{name}: {problem}\n" for name, problem in problems if problem)
    if found:
        raise PctError(f"400 Parameter verification failed.\n{found}{usage}", 2)
    truths = {name: formats.truth(options[name]) for name in options if known[name] == BOOLEAN}
    return positional, options | truths


def _split(words: list[str], known: dict[str, str]) -> tuple[list[str], dict[str, str], list[str]]:
    positional: list[str] = []
    options: dict[str, str] = {}
    complaints: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            positional += queue
            break
        if len(word) == 1 or not word.startswith("-"):
            positional.append(word)
            continue
        name, given, value = word.removeprefix("-").removeprefix("-").partition("=")
        if name not in known:
            complaints.append(f"Unknown option: {name}\n")
        elif given:
            options[name] = value
        elif queue and (known[name] != BOOLEAN or not queue[0].startswith("-")):
            options[name] = queue.pop(0)
        elif known[name] == BOOLEAN:
            options[name] = "1"
        else:
            complaints.append(f"Option {name} requires an argument\n")
    return positional, options, complaints


def _id_problem(value: str) -> str:
    if not (value.isascii() and value.isdecimal()):
        return f"type check ('integer') failed - got '{value}'"
    if len(value) not in range(3, 10) or value.startswith("0"):
        return "invalid format - value does not look like a valid VM ID\n"
    return ""


def _problem(kind: str, value: str) -> str:
    wrong = (kind == INTEGER and not (value.isascii() and value.isdecimal())) or (
        kind == BOOLEAN and not formats.truth(value)
    )
    if wrong:
        return f"type check ('{kind}') failed - got '{value}'"
    if kind == FEATURES:
        said = formats.features(value, "features.")[1]
        return said and f"invalid format - {said}"
    return ""
