# Provokes denials by the program canary.pl ($5), which is given the other arguments; without perl
# only one of root.

if command -v perl >/dev/null; then exec perl -e "$5" "$1" "$2" "$3" "$4"; fi
if aa-exec -p "${1}root" -- true 2>&1; then echo 'root allowed: '; else echo 'root refused: '; fi
