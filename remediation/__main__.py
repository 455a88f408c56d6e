"""``python -m remediation`` is ``docker-lxc-gate``, from a clone."""

from docker_lxc_gate.__main__ import main

if __name__ == "__main__":
    main()
