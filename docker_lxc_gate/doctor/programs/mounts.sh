# after docker_lxc_gate/doctor/programs/container_pid.sh
# Prints the mounts of the container.

cat "/proc/${pid:?}/mountinfo"
