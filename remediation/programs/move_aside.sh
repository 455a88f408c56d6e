# Moves what a storage driver made below Docker's directory aside, and puts back what apply kept there.
# A run that was cut off at any command is brought to its end by the next one.
# Arguments: Docker's directory, the directory aside, and what to move, relative to the first.

set -e
root=$1 aside=$2 kept=docker-lxc-gate
shift 2
mkdir -p "$aside/image"
for place; do
    [ "$place" = "$kept" ] || mv -T "$root/$place" "$aside/$place"
done
case " $* " in *" $kept "*) ;; *) exit 0 ;; esac
for part in containers buildkit; do
    [ -e "$root/$kept/former/$part" ] || continue
    [ ! -e "$root/$part" ] || mv -T "$root/$part" "$aside/$part"
    mv -T "$root/$kept/former/$part" "$root/$part"
done
rm -rf "${root:?}/$kept"
