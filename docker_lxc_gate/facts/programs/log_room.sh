# Prints the free bytes, the size and the place of a directory's file system, and auditd's space_left.

df -B1 --output=avail,size,target -- "$1" | tail -n 1
sed -nE 's/^space_left *= *([0-9]+%?).*/\1/p' /etc/audit/auditd.conf 2>/dev/null || true
