"""``python -m docker_lxc_gate``: the one command, which has all verbs."""

from docker_lxc_gate.commandline.output import run
from remediation.cli.group import main

if __name__ == "__main__":
    run(main, "python -m docker_lxc_gate")
