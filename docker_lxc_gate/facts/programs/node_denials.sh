# Prints a node's denials from where it keeps them, below headings, and what it knows of its
# processes: whose each is, and since when. Arguments: audit.pl, auditd's log, the first second of the
# journal that is read (empty: all of it), and how many bytes of the log are read.
# Of other records nothing leaves the node, as command lines are among them: of a system call that
# was denied something, its number and its process's parent.

state=$(perl -e "$1" state) || { echo '== unread'; state=; }
printf '%s\n' '== state' "$state"
most=$4
pick() {
    LC_ALL=C grep -aE -A 1 'apparmor="(DENIED|KILLED|STATUS)"' | LC_ALL=C sed -n '
        /apparmor="\(DENIED\|KILLED\)"/p
        /apparmor="STATUS".* error=-1/p
        s/^.*type=\(SYSCALL msg=\|1300 \)audit(\([0-9.]*:[0-9]*\)).* ppid=\([0-9]*\) .*/parent \2 \3/p
    ' | tail -c "$most"
}
folder=${2%/*}
case "$state
" in
*"
process "?" auditd
"*)
    [ -e "$2" ] || echo "auditd takes the records, and $2 is not there" >&2
    echo '== auditd'
    # shellcheck disable=SC2012  # by their numbers; auditd names them
    ls -1rv "$folder" | while read -r name; do
        case $name in
        audit.log*.gz) zcat -- "$folder/$name" ;;
        audit.log*) cat -- "$folder/$name" ;;
        esac
    done | pick ;;
*)
    echo '== kernel'
    if command -v journalctl >/dev/null; then
        journalctl -q --no-pager -o short-unix _TRANSPORT=kernel ${3:+--since "@$3"}
    else dmesg; fi | pick ;;
esac

echo '== clock'
grep btime /proc/stat; getconf CLK_TCK
echo '== processes'
for each in /proc/[0-9]*; do echo "$each/stat"; done | xargs grep -as . /dev/null
echo '== cgroups'
for each in /proc/[0-9]*; do echo "$each/cgroup"; done | xargs grep -as /lxc /dev/null
echo '== labels'
for each in /proc/[0-9]*; do echo "$each/attr/apparmor/current"; done | xargs grep -as . /dev/null
echo '== configurations'
find -L /etc/pve/lxc /var/lib/lxc -maxdepth 2 \( -name '*.conf' -o -name config \) \
    -exec grep -aHE '^ *lxc[.](apparmor[.]profile|aa_profile)' {} + 2>/dev/null
echo '== end'
