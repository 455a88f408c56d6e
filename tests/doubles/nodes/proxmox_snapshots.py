"""A container's file as Proxmox leaves it when it takes a snapshot. Pure."""

from dataclasses import replace

from docker_lxc_gate.lab.guest.pct.config import Config, Section

#: These are not part of a container's state, so no snapshot holds them.
_NOT_IN_SNAPSHOTS = ("lock", "snapstate", "snaptime")


def taken(config: Config, name: str, time: int, description: str) -> Config:
    """Return a copy with a snapshot of the section in effect; pending values are not part of it."""
    kept = {k: v for k, v in config.current.keys.items() if k not in _NOT_IN_SNAPSHOTS}
    new = Section({**kept, "snaptime": str(time)}, config.current.raw)
    snapshots = {**config.snapshots, name: new.with_description(description)}
    return replace(config, current=config.current.with_keys(parent=name), snapshots=snapshots)
