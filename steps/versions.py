"""The versions on the node and in the container, for the report's front page.

PYTEST_DONT_REWRITE: pytest loads each module of this folder as a plugin.
"""

from __future__ import annotations

from itertools import chain

from docker_lxc_gate.machines.read import Read, unparsed
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.tables import table


def _packages(named: dict[str, str]) -> Read[dict[str, str]]:
    """Read the versions of the packages that are there, by what a reader calls them."""

    def parse(query: CommandResult) -> dict[str, str]:
        known = dict(line.split(" ", 1) for line in query.text.splitlines() if " " in line)
        shown = {}
        for name, (first, *others) in packages.items():
            more = [f"{known[package]} ({package})" for package in others if known.get(package)]
            if versions := [*filter(None, [known.get(first)]), *more]:
                shown[name] = ", ".join(versions)
        return shown

    packages = {name: words.split() for name, words in named.items()}
    asked = chain.from_iterable(packages.values())
    return Read(("dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *asked), parse)


_NAMES = table("steps", "versions", dict[str, dict[str, str]])
_NODE_PACKAGES = _packages(_NAMES["node"])
#: Reads the versions inside a container.
INSIDE = _packages(_NAMES["container"])
#: Reads the kind of file system of its root.
ROOT = unparsed("findmnt", "-no", "FSTYPE", "/")


def of_node(node: Transport) -> dict[str, str]:
    """Return the versions on a node, by what a reader calls them."""
    versions = {"Proxmox": "not installed", "Kernel": node.look(["uname", "-r"]).text.strip()}
    return versions | node.ask(_NODE_PACKAGES)
