"""A dockerd that answers what it was told, in the place of one that the node would ask."""

from dataclasses import dataclass, field

import pytest

from docker_lxc_gate.facts import dockerd
from docker_lxc_gate.machines.runtime.base import Runtime


@dataclass
class Dockerd:
    """What dockerd says of itself, its containers by name, its images by id."""

    told: dockerd.Info = field(default_factory=dockerd.Info)
    records: dict[str, dockerd.ContainerRecord | None] = field(default_factory=dict)
    images: dict[str, dockerd.Image | None] = field(default_factory=dict)
    settings: str = dockerd.SETTINGS
    argv: tuple[str, ...] = ("/usr/sbin/dockerd", "-H", "fd://")

    def info(self) -> dockerd.Info:
        return self.told

    def record(self, name: str) -> dockerd.ContainerRecord | None:
        return self.records[name]

    def image(self, id: str) -> dockerd.Image | None:  # noqa: A002 - as dockerd has it
        return self.images[id]

    def runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let it be the one that is found in container 950."""

        def find(_: Runtime, ctid: int) -> Dockerd:
            assert ctid == 950
            return self

        monkeypatch.setattr(dockerd, "find", find)


def no_dockerd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let none be found."""
    monkeypatch.setattr(dockerd, "find", lambda *_: None)
