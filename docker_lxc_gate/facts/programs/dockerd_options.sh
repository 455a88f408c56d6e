# Prints the command line of Docker's unit, and the file that Debian's unit, which may be still to
# come, reads.

exec=$(systemctl show -p ExecStart --value docker)
echo "$exec"
case $exec in '' | *DOCKER_OPTS*) cat /etc/default/docker 2>/dev/null ;; esac
:
