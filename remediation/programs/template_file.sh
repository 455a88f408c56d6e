# Prints a file of a template. Without pvesm, templates are in the directory of Proxmox's storage
# `local`. Names in an archive begin with "./" or not.

file=$(pvesm path "$1" 2>/dev/null) || file=/var/lib/vz/template/cache/${1##*/}
for name in ".$2" "${2#/}"; do
    tar --force-local --extract --to-stdout --occurrence=1 --file="$file" -- "$name" && exit
done
