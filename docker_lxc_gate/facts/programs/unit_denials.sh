# Prints the start of the node's log, each denial, and everything that may hide one: lost records, a
# start or an end of auditd, rules that drop records. Nothing else leaves the node, because some
# records hold command lines.
# shellcheck disable=SC2046

most=2000  # lines from the end of the log
denied='apparmor="(DENIED|KILLED)"'
# auditd's records of itself, and of a rule that left records out and was removed.
own='^(node=[^ ]* )?type=(DAEMON_(START|END|ABORT|CONFIG)|CONFIG_CHANGE) '
kernel() { journalctl -k -b -q --no-pager -o short-unix; }
lost='audit_lost=|callbacks suppressed|audit: rate limit|audit: backlog limit'
if systemctl is-active -q auditd; then
    set -- $(ls -1tr /var/log/audit/audit.log*)
    cat "$@" >/dev/null || exit 1
    head -q -n 1 "$1" | sed -nE 's/^[^(]*audit\(([0-9.]+):.*$/since \1/p'
    cat "$@" | grep -aE "$denied|$own" | tail -n "$most"
else
    kernel | sed -nE '1s/^([0-9.]+) .*$/since \1/p'
    kernel | grep -aE "$denied" | tail -n "$most"
fi
kernel | grep -aE "$lost" | sed -E 's/^([0-9.]+) .*$/gap \1/' | tail -n "$most"
auditctl -l 2>/dev/null | sed -nE '/exclude/s/^/rule /p'
echo end
