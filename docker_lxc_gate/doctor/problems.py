"""What doctor names, as data: ``problems.toml``, and ``follows.toml``."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from docker_lxc_gate.lint.finding import problems

#: By id.
PROBLEMS = problems("docker_lxc_gate.doctor")
#: By id, the problems from which this one merely follows.
FOLLOWS = msgspec.toml.decode(
    files("docker_lxc_gate.doctor").joinpath("follows.toml").read_bytes(),
    type=dict[str, frozenset[str]],
)
