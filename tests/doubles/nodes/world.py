"""A node with one container: its configuration is a real file, and so is the journal."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.transport import Transport
from remediation.actions.container_options import ContainerOptions
from remediation.desired import OPTIONS
from remediation.edits.container_config import put_back
from remediation.edits.container_file import container_options
from remediation.engine.action import Step
from remediation.engine.plan import Plan
from tests.doubles.answering import Answer, Answering
from tests.doubles.death import Death
from tests.doubles.flag import journal
from tests.doubles.nodes.machines import Container
from tests.doubles.states import Laid, look


def booted() -> Answering:
    """The inside of a container that has booted, and runs no Docker."""

    def answer(argv: list[str]) -> Answer:
        return b"running\n" if "is-system-running" in argv[2] else (1, b"", b"")

    return Answering(answer, "container 950")


class OfFolder(Pct):
    """The runtime of one container, whose configuration is a real file."""

    ctid = 950

    def __init__(self, node: Transport, config: Path, inside: Transport) -> None:
        super().__init__(node)
        self.config, self._inside = config, inside

    def config_path(self, ctid: int) -> str:
        assert ctid == self.ctid
        return str(self.config)

    def inside(self, ctid: int) -> Transport:
        assert ctid == self.ctid
        return self._inside

    def state(self, ctid: int) -> str | None:
        assert ctid == self.ctid
        return "running" if self.node.run(["container", "running"]).ok else "stopped"

    def started_with(self, ctid: int) -> str:
        assert ctid == self.ctid
        return self.node.run(["container", "effective"]).require().text

    def start(self, ctid: int) -> None:
        assert ctid == self.ctid
        self.node.run(["container", "start"]).require()

    def shutdown(self, ctid: int) -> None:
        assert ctid == self.ctid
        self.node.run(["container", "shutdown"]).require()


@dataclass
class World:
    """A folder with the container's configuration, and the container."""

    folder: Path
    node: Container = field(init=False)
    inside: Transport = field(default_factory=booted)

    def __post_init__(self) -> None:
        (self.folder / "here").mkdir()
        self.node = Container(self.config)

    @property
    def config(self) -> Path:
        return self.folder / "here/config"

    def step(self, death: Death | None = None, **changes: Any) -> Step:
        """Return the step, whose action has these attributes."""
        on = (death or Death()).under(self.node)
        options = ContainerOptions(
            "container-options",
            "container 950",
            "STEP-2.2",
            OfFolder(on, self.config, self.inside),
            950,
            container_options,
            partial(put_back, keys=OPTIONS),
        )
        return Step(replace(options, **changes), on)

    def plan(self, death: Death | None = None, **changes: Any) -> Plan:
        step = self.step(death, **changes)
        return Plan([step], journal(self.folder, on=step.on))

    def look(self) -> tuple[object, str | None]:
        return look(self.folder / "here"), self.node.effective


def world(name: str, laid: Laid, *, running: bool) -> World:
    made = World(Path(name))
    laid.at(made.config)
    if running:
        made.node.start()
    return made
