# Prints each path that is there and, if it is a directory, what is in it. Fails where it cannot tell.
# Arguments: the paths.

set -e
for path; do
    test ! -e "$path" -a ! -L "$path" || find -H "$path" -maxdepth 1 ! -name '*taken-back-*'
done
