# Prints the map of user ids, and that of group ids.

cat "/proc/${pid:?}/uid_map" && echo '==' && cat "/proc/$pid/gid_map"
