# Prints what systemd says of each failed unit.

units=$(systemctl list-units --full --state=failed --no-legend --plain) || exit
units=$(printf '%s\n' "$units" | cut -d' ' -f1 | head -n 100)
# shellcheck disable=SC2086 # each unit is a word
[ -z "$units" ] || systemctl show -p Id,Result,ExecMainStatus -- $units
