"""The one command, ``docker-lxc-gate``. In a clone, ``python -m docker_lxc_gate`` is the same."""

from __future__ import annotations

import sys

from docker_lxc_gate.home import HOME


def main() -> None:
    """Run the command line, with the checkout on the import path."""
    sys.path.insert(0, str(HOME))
    import remediation.cli.group  # noqa: PLC0415 - first, since it says which packages are missing
    from docker_lxc_gate.commandline.output import run  # noqa: PLC0415

    run(remediation.cli.group.main, "docker-lxc-gate")


if __name__ == "__main__":
    main()
