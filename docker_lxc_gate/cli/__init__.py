"""The command line of ``docker-lxc-gate``."""
