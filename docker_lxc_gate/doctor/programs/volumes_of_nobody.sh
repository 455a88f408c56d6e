# Prints how many volumes there are, and of those of nobody the owner in the container, whether root
# there may do everything with it, and the name.

root=$(asked info -f '{{.DockerRootDir}}') || exit
cd "$root/volumes" || exit
all=$(find . -mindepth 1 -maxdepth 1 -type d | head -n "$1")
echo "volumes $(printf '%s' "$all" | grep -c .)"
printf '%s\n' "$all" | while IFS= read -r each; do
    printf '%s/_data\0' "$each"
done | xargs -0 stat -c '%u %g %n' -- 2>/dev/null | grep -aE '^([0-9]+ )?65534 ' |
    head -n "$2" | while read -r user group place; do
        if [ -r "$place" ] && [ -w "$place" ] && [ -x "$place" ]; then may=yes; else may=no; fi
        echo "$user $group $may $place"
    done
:
