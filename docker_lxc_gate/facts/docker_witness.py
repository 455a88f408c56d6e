"""Docker's objects and processes in a container, to compare before and after: names, ids, pids.

The guest's output is not trusted: it is limited in size, and only names and ids of Docker's forms
are accepted. Sources: docker-ps(1), org.freedesktop.systemd1(5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate import foreign, patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import failed_units
from docker_lxc_gate.machines.programs import program

if TYPE_CHECKING:
    from docker_lxc_gate.machines.transport import Transport

#: The name of each unit in a report.
_UNITS = {
    "docker.service": "dockerd",
    "containerd.service": "containerd",
    "docker.socket": "docker.socket",
}
_SCRIPT = program("docker_lxc_gate.facts", "docker_witness.sh")
_ID = r"(?:sha256:)?[0-9a-f]{12,64}"
_NAME = r"[\w./:<>@,+-]{1,512}"
#: The form of each kind's lines: ``key`` names the fact, ``value`` is its value.
_LINES = {
    "container": patterns.compile(rf"(?P<value>{_ID}) (?P<key>{_NAME})"),
    "image": patterns.compile(rf"(?P<key>{_ID}) (?P<value>{_NAME})"),
    "volume": patterns.compile(rf"(?P<key>{_NAME}) (?P<value>{_NAME})"),
    "network": patterns.compile(rf"(?P<value>{_ID}) (?P<key>{_NAME})"),
    "state": patterns.compile(rf"/?(?P<key>{_NAME}) (?P<value>[\w :.+-]{{1,120}})"),
}
_TIMEOUT = 360.0


@foreign.parser()
def record(inside: Transport) -> dict[str, str]:
    """Return Docker's containers, images, volumes and networks, and its processes.

    Args:
        inside: the container, with or without Docker.

    Returns:
        ``docker KIND NAME`` with ids; ``process NAME`` with pid, start (microseconds since the
        node's boot) and state, or with the start time of a Docker container.

    Raises:
        FactError: Docker runs, but a listing failed or cannot be read.
    """
    answer = inside.look(["sh", "-c", _SCRIPT, "docker-witness"], timeout=_TIMEOUT).require()
    parts = dict(part.partition("\n")[::2] for part in ("\n" + answer.text).split("\n== ")[1:])
    facts: dict[str, str] = {}
    for kind, text in parts.items():
        listed, _, code = text.strip("\n").rpartition("ended with ")
        if code != "0" or kind not in {"unit", *_LINES}:
            raise FactError(
                f"listing Docker's objects in {inside.machine} failed ({kind[:40]!r}): it "
                f"ended with {code[:20] or 'too much output'}: {answer.stderr[-300:]!r}"
            )
        if kind == "unit":
            facts |= _units(listed)
        else:
            facts |= _objects(inside, kind, listed)
    return facts


def _units(text: str) -> dict[str, str]:
    facts = {}
    for said in failed_units.properties(text):
        if name := _UNITS.get(said.pop("Id", "")):
            facts[f"process {name}"] = " ".join(f"{key}={said[key]}" for key in sorted(said))[:200]
    return facts


def _objects(inside: Transport, kind: str, text: str) -> dict[str, str]:
    """Return one fact a name; objects with the same name share a fact."""
    facts: dict[str, set[str]] = {}
    for line in text.splitlines():
        if (found := _LINES[kind].fullmatch(line)) is None:
            where = f"Docker in {inside.machine}"
            raise FactError(f"{where} lists a {kind} in an unknown form: {line!r:.200}")
        key = ",".join(sorted(found["key"].split(",")))  # a linked container's names
        name = f"process of docker container {key}" if kind == "state" else f"docker {kind} {key}"
        facts.setdefault(name, set()).add(found["value"])
    return {key: ", ".join(sorted(values)) for key, values in facts.items()}
