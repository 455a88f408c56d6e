# Prints the mounts of the container.

cat "/proc/${pid:?}/mountinfo"
