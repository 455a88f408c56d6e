# Cuts apt's lists below the root $1 down to what may be wanted there: the installed packages, those named
# after it, and all that may satisfy what these depend on. apt looks at all of Debian's 69,000 packages
# whenever it is called: under emulation that takes seven seconds, some twenty times in a run of the
# gate. apt-get update leaves the lists as they are for as long as the mirror has nothing newer.
set -eu
root=$1
shift
# shellcheck disable=SC2016 # dpkg-query expands it
installed=$(chroot "$root" dpkg-query -W -f '${Package}\n')
# shellcheck disable=SC2086 # each name is a word
kept=$(chroot "$root" apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
    --no-breaks --no-replaces --no-enhances $installed "$@" | grep '^[a-z0-9]')
for list in "$root"/var/lib/apt/lists/*_Packages; do
    printf '%s\n' "$kept" |
        awk 'FNR == NR { kept[$0]; next } $2 in kept' - RS= ORS='\n\n' "$list" >"$list.cut"
    mv "$list.cut" "$list"
done
rm -f "$root"/var/cache/apt/*.bin
