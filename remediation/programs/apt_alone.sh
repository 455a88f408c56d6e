# Lets apt do something, unless it would touch anything but some packages: then it prints what else.
# apt may install one package to remove another.
# Arguments: these packages, in one word, and the words for apt.

ours=" $1 "
shift
plan=$(look "$@") || exit
others=$(printf '%s\n' "$plan" | awk -v ours="$ours" '
    /^(Inst|Purg|Remv) / && !index(ours, " " $2 " ") { print $2 }') || exit
# shellcheck disable=SC2086 # in one line
test -z "$others" || { echo $others && exit 3
}
apt "$@"
