# Prints the versions of the kernel, of LXC, of ZFS and of Proxmox's packages.

echo "kernel $(uname -r)"
echo "lxc $(lxc-start --version 2>/dev/null)"
echo "zfs $(cat /sys/module/zfs/version 2>/dev/null)"
# The package's version last: it tells more of LXC than the program.
dpkg-query -W -f '${Package} ${Version}\n' lxc lxc-pve pve-container 2>/dev/null | grep ' .'
:
