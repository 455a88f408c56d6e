# Reads an archive to its end. Prints each required member that it lacks, and a number at its end.
# Arguments: the archive, and the required members, which have no blanks and may have ./
# or / before them in the archive. tar does not notice if an uncompressed archive is cut off, so the script
# checks that the last two blocks are zero, as tar writes them.

case $1 in *.tar)
    [ "$(tail -c 1024 -- "$1" | tr -d '\0' | wc -c)" -eq 0 ] || {
        echo "it is cut off: no end of archive" >&2
        exit 2
    }
esac
file=$1; shift
# The exit code comes after a line that is no name: tar quotes control characters.
{ LC_ALL=C nice -n 19 tar --list --quoting-style=escape --force-local --file="$file"; printf '\001\n%s\n' $?; } |
    LC_ALL=C awk -v required="$*" '
        BEGIN { split(required, names, " "); for (each in names) lacks[names[each]] }
        at_end { exit $0 }
        $0 == "\001" { at_end = 1; next }
        { sub("/$", ""); delete lacks[$0]; sub("^\\.?/", ""); delete lacks[$0] }
        END { for (each in lacks) print each; print NR }
    '
