"""Containers of plain LXC, through its own tools."""

from __future__ import annotations

from typing_extensions import override

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.machines.runtime.base import Runtime

#: Prints a process's profile, and the mounts that LXC made for it.
_EFFECTS = 'cat "$1/attr/current" && { grep -E " /dev/(fuse|[.]lxc/[a-z]+) " "$1/mounts" || :; }'


class Lxc(Runtime):
    """Containers of plain LXC, through its own tools. Source: lxc-attach(1), lxc-info(1)."""

    kind = "lxc"
    start_command = "lxc-start -n"

    @override
    def _absent(self, ctid: int) -> str:
        return (
            f"there is no container {ctid} on {self.node.machine} ({self.config_path(ctid)} does "
            "not exist): lxc-ls lists all containers"
        )

    @override
    def config_path(self, ctid: int) -> str:
        return self.started_path(ctid)

    @override
    def configuration(self, ctid: int) -> container_config.ContainerConfig:
        if self.node.read(self.config_path(ctid)) is None:
            raise FactError(self._absent(ctid))
        return self.effective(ctid)

    def started_with(self, ctid: int) -> str:
        """See :class:`Runtime`.

        LXC keeps no copy of the configuration, and lxc-info reads the file, which may have changed
        since. So the effects on the first process count. Source: tools/lxc_info.c.
        """
        place = f"/proc/{self.init_pid(ctid)}"
        return self.node.look(["sh", "-c", _EFFECTS, "effects", place]).require().text

    @override
    def features(self, ctid: int) -> dict[str, str]:
        effective = self.effective(ctid)
        return container_config.granted(effective, self.seccomp_list(effective))

    @override
    def state(self, ctid: int) -> str | None:
        return self.node.ask(self.lxc_state(ctid)).lower() or None

    @override
    def start(self, ctid: int) -> None:
        self._lxc(ctid, "lxc-start")

    @override
    def shutdown(self, ctid: int) -> None:
        self._lxc(ctid, "lxc-stop", "-t", "60")

    @override
    def destroy(self, ctid: int) -> None:
        self._lxc(ctid, "lxc-destroy")

    def _lxc(self, ctid: int, *program: str) -> None:
        argv = [*program, "-P", self._LXC_PATH, "-n", str(ctid)]
        self.node.run(argv, timeout=180).require()
