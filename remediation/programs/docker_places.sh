# Runs in the container. Prints the real path of each directory, of the volumes below it, and of the
# directories that these volumes are made of, a line each. After an empty line follow the mounts.

for root; do
    printf '%s\n' "$root" "$root/volumes"
    grep -ahos '"MountDevice":"/[^"]*"' "$root"/volumes/*/opts.json "$root"/*.*/volumes/*/opts.json |
        cut -d'"' -f4
done | while IFS= read -r place; do
    readlink -f -- "$place" || printf '%s\n' "$place"
done
echo
cat /proc/self/mountinfo
