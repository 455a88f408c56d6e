# Takes what Docker brought away, or moves it aside. First it unmounts what a killed Docker left
# mounted below a path. Arguments: pairs of a verb and a path. "empty" deletes an empty file, a link
# to nothing, and a directory that holds no files; of anything else it prints what is there, and
# ends with 3. Any other verb than "delete" is appended to the name.

set -e
while test $# -gt 0
do
    test -e "$2" -o -L "$2" || {
        shift 2
        continue
    }
    awk -v at="$2/" 'index($2 "/", at) == 1 { print $2 }' /proc/self/mounts | sort -r |
        while read -r each
        do umount -l -- "$each"
        done; case $1 in
        empty)
            find "$2" \( -type d -empty -o -path "$2" \( -empty -o -xtype l \) \) -delete
            ! find "$2" ! -type d 2>/dev/null | grep . >&2 || exit 3 ;;
        delete) rm -rf --one-file-system -- "$2" ;;
        *) mv -T -- "$2" "$2.$1" ;;
    esac; shift 2
done
