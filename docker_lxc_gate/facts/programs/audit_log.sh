# Prints the denials in auditd's log from a byte on. A log is gigabytes, so grep searches it on the
# node for plain words; what that finds is little, and is searched a second time. Compiled by grep
# -P, three words cost what one does; not every grep has that. No place is told if the last line is
# not whole yet: then the next look begins again where this one did. `seen` prints a checksum of the
# last of so many bytes of descriptor 3.

exec 3<"$1" || exit 2
export LC_ALL=C
inode=$(stat -L -c %i /dev/fd/3) || exit 2

seen() {
    tail -c "+$(($1 > 256 ? $1 - 255 : 1))" /dev/fd/3 | head -c "$(($1 > 256 ? 256 : $1))" |
        sha256sum | sed 's/ .*//'
}

[ -z "$3" ] || [ "$inode" = "$3" ] || { echo 'docker-lxc-gate: another file'; exit; }
[ -z "$4" ] || [ "$(seen "$(($2 - 1))")" = "$4" ] || {
    echo 'docker-lxc-gate: another content'
    exit
}
dd bs=1 count=0 iflag=skip_bytes skip="$(($2 - 1))" status=none <&3 || exit 2
cut='docker-lxc-gate: not read to its end'
own='^\(node=[^ ]* \)\?type=\(DAEMON_[A-Z]*\|CONFIG_CHANGE\) '
words='apparmor="(DENIED|KILLED)"|type=DAEMON_|type=CONFIG_CHANGE'
found() {
    if echo type=DAEMON_ | grep -qaP "$words" 2>/dev/null; then grep -aP "$words"
    else grep -aF -e 'apparmor="DENIED"' -e 'apparmor="KILLED"' -e type=DAEMON_ -e type=CONFIG_CHANGE; fi
}
{ found <&3
    [ $? -le 1 ] || echo "$cut"
} | grep -a -e 'apparmor="\(DENIED\|KILLED\)"' -e "$own" -e "$cut" || [ $? = 1 ] || exit
read=$(sed -n 's/^pos:[^0-9]*//p' "/proc/$$/fdinfo/3" 2>/dev/null)
if [ "${read:-0}" -gt 0 ] && [ "$(tail -c "+$read" /dev/fd/3 | head -c 1 | wc -l)" -eq 1 ] &&
    seen=$(seen "$read") && [ "$seen" ]; then
    echo "docker-lxc-gate: read $inode $read $seen"
fi
