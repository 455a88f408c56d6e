# Names what is missing for Docker to load profiles of its own.

if ! [ -e /sbin/apparmor_parser ] && ! [ -e /usr/sbin/apparmor_parser ]; then
    echo parser
    case $(dpkg-query -W -f '${db:Status-Status}' apparmor 2>/dev/null) in installed) echo hidden ;; esac
fi
[ -d /sys/kernel/security/apparmor ] || echo securityfs
[ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] || echo kernel
pid=$(systemctl show -p MainPID --value docker)
tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -q '^container=' && echo environment
:
