# Names those settings of some packages that are not as the package brought them.
# Arguments: the packages.

# shellcheck disable=SC2016 # dpkg-query's own
dpkg-query -W -f '${Conffiles}\n' "$@" 2>/dev/null |
    awk 'length($2) == 32 { print $2 "  " $1 }' |
    md5sum -c --quiet --ignore-missing 2>/dev/null | sed "s/: FAILED$//"
