# Moves back into a directory what apply moved beside it, and gives it its mode and owner again. What
# has a newer one in its place stays, and its directory is printed. Arguments: the directory.

set -e
for aside in "$1".rolled-back-*-by-apply
do
    test -d "$aside" || continue
    # One that is empty may have lost its mode: apply was cut off when it had made it.
    ! find "$aside" -mindepth 1 | grep -q . || {
        mkdir -p -- "$1"
        chown --reference="$aside" -- "$1"
        chmod --reference="$aside" -- "$1"; find "$aside" -mindepth 1 -maxdepth 1 -exec sh -c '
            at=$1/${2##*/}
            test -e "$at" -o -L "$at" || mv -T -- "$2" "$at"' move "$1" {} \;
    }; rmdir -- "$aside" 2>/dev/null || echo "$aside"
done
