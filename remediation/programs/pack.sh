# `pack` archives what tar is told. tar's exit code 1 means that files changed while it read them: a
# warning in the log, no error.
# shellcheck disable=SC2034,SC2154

umask 077
pack() {
    file=$1; shift
    trap 'rm -rf -- "$file.new" ${scratch:+"$scratch"}' EXIT
    code=0
    LC_ALL=C tar --create --file="$file.new" --force-local --use-compress-program='zstd -1 -T0' \
        --numeric-owner --acls --xattrs --xattrs-include='*' "$@" || code=$?
    [ "$code" -le 1 ] || return "$code"
    [ "$code" -eq 0 ] || echo "WARN: files changed while they were read" >&2
    sync "$file.new"
    mv -T -- "$file.new" "$file"
}
set -e
mkdir -p -- "$1"
now=$(date +%Y_%m_%d-%H_%M_%S)
