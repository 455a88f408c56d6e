# Prints the time, when a mirror was asked last, the number of lists, and until when they are valid.

newest=0
for place in /var/lib/apt/lists/partial /var/lib/apt/periodic/update-success-stamp; do
    at=$(stat -c %Y "$place" 2>/dev/null) && [ "$at" -gt "$newest" ] && newest=$at
done
echo "now $(date +%s)"
echo "asked $newest"
lists=$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' 2>/dev/null | head -n "$1")
echo "lists $(printf '%s' "$lists" | grep -c .)"
for list in /var/lib/apt/lists/*Release; do
    [ ! -f "$list" ] || LC_ALL=C grep -am 1 '^Valid-Until: ' "$list"
done | head -n "$1" | cut -c 1-100
:
