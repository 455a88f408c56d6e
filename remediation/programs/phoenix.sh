# Prints the path of phoenix, if there is one, and then the first path that anyone but root may change:
# phoenix, its checkout, or a directory above one of them.

there=$(command -v phoenix) && there=$(realpath -e -- "$there") || exit 0
printf '%s\n' "$there"
checkout=$(realpath -e -- "$1") || exit 0
for above in "$there" "$checkout"; do
    while [ "$above" != / ]; do
        above=$(dirname -- "$above")
        find "$above" -maxdepth 0 \( ! -uid 0 -o -perm -002 ! -perm -1000 \)
    done
done
# With an ACL, the group's bits are those of everybody whom it names.
find "$there" "$checkout" \( ! -uid 0 -o -perm /022 ! -type l \) -print -quit
