"""A file on a machine, for a test that needs it there."""

from docker_lxc_gate.machines.transport import Transport

_PUT = 'cat >"$1.new" && chmod "$2" "$1.new" && mv -fT -- "$1.new" "$1"'


def put(on: Transport, path: str, content: bytes, mode: int = 0o644) -> None:
    """Replace a file's content."""
    on.run(["sh", "-c", _PUT, "write", path, f"{mode:o}"], stdin=content).require()
