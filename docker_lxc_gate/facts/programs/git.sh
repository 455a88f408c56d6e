# after docker_lxc_gate/facts/programs/checkout.sh
# shellcheck disable=SC2154 # checkout.sh sets the repository
# git, without writing the index or prompting, and as the checkout's owner. Each file that the configuration
# includes is judged, too: one that is not there may come to be.

export GIT_OPTIONAL_LOCKS=0 GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=false SSH_ASKPASS_REQUIRE=never
ask() {
    as git -C "$repository" --work-tree=. -c safe.directory='*' -c core.fsmonitor=false \
        -c core.hooksPath=/dev/null "$@"
}
if [ "$user" = 0 ] && [ -e "$repository/.git" ]; then
    # Two lines for each: the file that includes it, its key and path. The last one is git's exit code.
    included=$({
        ask config -z --show-origin --type=path --get-regexp '^include(if\..*)?\.path$'
        printf '%s\0' $?
    } | tr '\n\0' '\t\n')
    while IFS= read -r origin && IFS= read -r path; do
        origin=$(from "$repository" "${origin#file:}")
        path=$(from "${origin%/*}" "${path#*	}")
        own "$path"
        kept "$path"
    done <<END
$included
END
    case $origin in 0 | 1 | 127) ;; *) exit "$origin" ;; esac
fi
