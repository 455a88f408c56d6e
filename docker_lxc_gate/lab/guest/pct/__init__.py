"""Proxmox's ``pct`` over plain LXC, so that the lab's node is driven by the same commands.

It has the commands and options that are used on the lab, and refuses all others. Its texts and
exit codes for them are the recorded ones of pve-container 6.1.10.
"""
