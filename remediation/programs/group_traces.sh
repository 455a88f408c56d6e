# Prints which of its two databases know a group, and which of the further paths are there. Fails
# where it cannot tell.
# Arguments: the group, and the paths.

for db in group gshadow; do
    getent -s files "$db" "$1" >/dev/null && echo "$db" || test $? = 2 || exit
done
shift
for path; do test ! -e "$path" || echo "$path"; done
