# Prints the label, then the file of the profile, then the abstraction that LXC's own profiles
# include. LXC keeps the profile that it generated at the container's start. The name is the
# kernel's; one with other characters has no file of its own.
# shellcheck disable=SC2154

place=/proc/$pid/attr/apparmor/current
[ -e "$place" ] || place=/proc/$pid/attr/current
label=$(cat "$place" 2>/dev/null) ||
    { echo "the node's kernel shows no AppArmor label" >&2; exit 5; }
printf '%s\n== profile\n' "$label"
name=${label% (*}
case $name in
"lxc-$1_</var/lib/lxc>"*) cat "/var/lib/lxc/$1/apparmor/lxc-$1_<-var-lib-lxc>" 2>/dev/null ;;
''|*[!A-Za-z0-9_.-]*|unconfined) ;;
*)
    grep -lsE "^[[:space:]]*profile[[:space:]]+\"?$name\"?([[:space:]{]|\$)" \
        /etc/apparmor.d/* /etc/apparmor.d/lxc/* | head -n 1 |
        while IFS= read -r file; do cat "$file"; done
esac
printf '\n== base\n'
cat /etc/apparmor.d/abstractions/lxc/container-base 2>/dev/null
printf '\n== end\n'
