# Runs in the container. Prints real paths, a line each: of each directory, of its volumes, and of
# the devices of these volumes. Then it prints an empty line and the table of mounts.

for root; do
    printf '%s\n' "$root" "$root/volumes"
    grep -ahos '"MountDevice":"/[^"]*"' "$root"/volumes/*/opts.json "$root"/*.*/volumes/*/opts.json |
        cut -d'"' -f4
done | while IFS= read -r place; do
    readlink -f -- "$place" || printf '%s\n' "$place"
done
echo
cat /proc/self/mountinfo
