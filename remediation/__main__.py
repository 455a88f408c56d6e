"""``python -m remediation``: show, apply, verify and roll back the plan."""

from docker_lxc_gate.commandline.output import run
from remediation.cli.group import main

if __name__ == "__main__":
    run(main, "python -m remediation")
