# Prints each path that is there and, if it is a directory, what is in it. Fails where it cannot tell.
# What a rollback moved aside is left out; earlier versions called it taken-back. Arguments: the paths.

set -e
for path; do
    test ! -e "$path" -a ! -L "$path" ||
        find -H "$path" -maxdepth 1 ! -name '*rolled-back-*' ! -name '*taken-back-*'
done
