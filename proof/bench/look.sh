# Prints what the plan has to change inside the container: the package's state, Docker's settings.
pct exec 950 -- sh -c "dpkg-query -W -f '\${db:Status-Abbrev}\n' fuse-overlayfs
cat /etc/docker/daemon.json" 2>/dev/null || true
