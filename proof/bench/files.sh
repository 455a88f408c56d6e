# shellcheck shell=bash
# lint of many configurations, and denials of long logs next to grep. Sourced by scripts/bench.

# lint_clean FOLDER N: fails if one of the files has a finding.
lint_clean() { python -m remediation lint "$1" | grep "^no finding in $2 files:"; }

# denials N, grep_denials N: fail unless they count all denials of the log. GNU time adds the peak
# of memory to a file (KiB). Linux counts the memory of the process that starts a program into that
# program's peak, so the one that starts it must be small.
denials() {
    total=$(/usr/bin/time -ao "$work/peaks" -f %M python -m remediation denials "$work/log" \
        --format json | jq .total)
    test "$total" = "$1"
}
grep_denials() {
    total=$(LC_ALL=C grep -c 'apparmor="DENIED"' "$work/log")
    test "$total" = "$1"
}

# The sizes are smaller in the tests.
measure_files() {
    local linted="lint of ${CONFIGURATIONS:=1000} configurations" runs mib one_in denied log name
    python -m proof.bench.files configurations "$work/lxc" "$CONFIGURATIONS"
    runs=$times stage "$linted" "lint_clean $work/lxc $CONFIGURATIONS" &&
        processor_seconds "$linted"
    for one_in in 10,000 10; do
        for mib in "${SMALL:-64}" "${LARGE:-1024}"; do
            runs=1  # of the small log, only the peak matters
            [[ $mib == "${SMALL:-64}" ]] || runs=$times
            log="$mib MiB, 1 line in $one_in a denial"
            denied=$(python -m proof.bench.files log "$work/log" "$mib" "${one_in/,/}")
            rm -f "$work/peaks"
            stage "grep of $log" "grep_denials $denied"
            stage "denials of $log" "denials $denied" || continue
            keep counts "denials of $log: peak, MiB" \
                "$(jq -s 'sort[length / 2 | floor] / 102.4 | round / 10' "$work/peaks")"
            for name in denials grep; do processor_seconds "$name of $log"; done
            for kind in seconds processor; do
                ratio "ratio denials / grep of $log: ${kind/processor/processor seconds}" $kind \
                    "denials of $log" "grep of $log"
            done
        done
    done
}

# processor_seconds STAGE: counts its processor time, if it has a figure.
processor_seconds() {
    local known
    known=$(jq -s --arg name "$1" 'add[$name] * 100 | round / 100' "$work/processor" 2>/dev/null) &&
        keep counts "$1: processor seconds" "$known"
}
