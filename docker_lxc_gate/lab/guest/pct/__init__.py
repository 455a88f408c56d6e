"""Proxmox's ``pct`` over plain LXC, so that the lab's node is driven by the same commands.

Texts and exit codes are the recorded ones of pve-container 6.1.10; whatever is not implemented
is refused. ``errors``, ``options``, ``lines`` and ``quick`` import nothing but builtins, since
`pct exec` is what a run pays for hundreds of times and every import costs ten times over on an
emulated processor.
"""
