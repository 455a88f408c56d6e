# Prints a file of a template. Without pvesm, templates are in the directory of Proxmox's storage
# `local`. Names in an archive begin with "./" or not, usually all like the first one. tar reads on
# for seconds until it has found every requested name, so the script requests one at a time.

file=$(pvesm path "$1" 2>/dev/null) || file=/var/lib/vz/template/cache/${1##*/}
case $(tar --force-local --list --file="$file" 2>/dev/null | head -n 1) in
    ./*) set -- ".$2" "${2#/}" ;;
    *) set -- "${2#/}" ".$2" ;;
esac
for name; do
    tar --force-local --extract --to-stdout --occurrence=1 --file="$file" -- "$name" && exit
done
