# Prints the name of each file in a container's archive that tells where Docker's data is, and the
# content of settings; each ends with NUL. The names are the guest's: they stay in a variable.
# shellcheck disable=SC2016

LC_ALL=C nice -n 19 tar --extract --force-local --file="$1" --wildcards --to-command='
    printf "%s\0" "$TAR_FILENAME"
    case $TAR_FILENAME in *.json | */fstab) head -c 100000 | tr -d "\0" ;; esac
    cat >/dev/null
    printf "\0"
' -- ./etc/docker/daemon.json ./etc/fstab './usr/*bin/dockerd' '*/volumes/metadata.db' \
    '*/volumes/*/opts.json' 2>/dev/null
: # it fails if one of them is absent
