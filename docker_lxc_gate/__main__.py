"""The one command, ``docker-lxc-gate``. In a clone, ``python -m docker_lxc_gate`` is the same."""

from __future__ import annotations

import sys

from docker_lxc_gate.home import HOME


def main() -> None:
    """Run the command line, with the checkout on the import path."""
    sys.path.insert(0, str(HOME))
    from docker_lxc_gate.cli import group  # noqa: PLC0415 - first: it says which packages are missing
    from docker_lxc_gate.commandline.output import run  # noqa: PLC0415

    run(group.main, "docker-lxc-gate")


if __name__ == "__main__":
    main()
