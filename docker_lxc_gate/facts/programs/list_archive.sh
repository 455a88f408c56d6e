# Lists the required members, and so reads to the end. tar does not notice if an uncompressed
# archive is cut off, so the script checks that the last two blocks are zero, as tar writes them.

case $1 in *.tar)
    [ "$(tail -c 1024 -- "$1" | tr -d '\0' | wc -c)" -eq 0 ] || {
        echo "it is cut off: no end of archive" >&2
        exit 2
    }
esac
file=$1; shift
LC_ALL=C exec nice -n 19 tar --list --no-recursion --force-local --file="$file" -- "$@"
