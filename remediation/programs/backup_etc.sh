# Archives /etc below $2 into the directory $1.
# shellcheck disable=SC2154 # pack.sh comes first

host=$(uname -n)
pack "$1/etc-${host%%.*}-$now.tar.zst" -C "$2" etc
