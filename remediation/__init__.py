"""The plan for Docker in an unprivileged LXC container: show, apply, verify, take back.

Start reading at :mod:`remediation.docker_in_lxc`; the mechanics are in :mod:`remediation.plan`.
"""
