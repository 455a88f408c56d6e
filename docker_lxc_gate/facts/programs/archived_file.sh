# Prints the first of the files $2… in the archive $1: a container's configuration, which stands at its
# beginning, or a node's name.

archive=$1; shift
LC_ALL=C nice -n 19 tar --extract --to-stdout --occurrence=1 --force-local --file="$archive" -- \
    "$@" 2>/dev/null | head -c 100000
