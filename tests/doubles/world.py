"""A node with one container: its configuration is a real file, and so is the journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from remediation.actions.container_options import ContainerOptions
from remediation.desired import OPTIONS
from remediation.edits.container_config import put_back
from remediation.edits.container_file import container_options
from remediation.engine.action import Step
from remediation.engine.plan import Plan
from tests.doubles.death import Death
from tests.doubles.flag import journal
from tests.doubles.machines import Container
from tests.doubles.states import Laid, look


@dataclass
class World:
    """A folder with the container's configuration, and the container."""

    folder: Path
    node: Container = field(init=False)

    def __post_init__(self) -> None:
        (self.folder / "here").mkdir()
        self.node = Container(self.folder / "here/config")

    def step(self, death: Death | None = None) -> Step:
        on = (death or Death()).under(self.node)
        options = ContainerOptions(
            "container-options",
            "container 950",
            "STEP-2.2",
            str(self.folder / "here/config"),
            container_options,
            partial(put_back, keys=OPTIONS),
            running=lambda: on.run(["container", "running"]).ok,
            effective=lambda: on.run(["container", "effective"]).require().text,
            start=lambda: on.run(["container", "start"]).require() and None,
            shutdown=lambda: on.run(["container", "shutdown"]).require() and None,
            normalised=True,
        )
        return Step(options, on)

    def plan(self, death: Death | None = None) -> Plan:
        step = self.step(death)
        return Plan([step], journal(self.folder, on=step.on))

    def look(self) -> tuple[object, str | None]:
        return look(self.folder / "here"), self.node.effective


def world(name: str, laid: Laid, *, running: bool) -> World:
    made = World(Path(name))
    laid.at(made.folder / "here/config")
    if running:
        made.node.start()
    return made
