# shellcheck disable=SC2154 # checkout.sh sets the repository
# Runs after checkout.sh: git, without writing the index or prompting, and as the checkout's owner. Each file
# that the configuration includes is judged, too: one that is not there may come to be. Its name is the task:
# "status" prints the state of a checkout, and the files that git was told to overlook; "hidden" the changed
# ones of those that it reads, one a line; "upstream BRANCH SECONDS" asks the upstream for its commit.

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
case $0 in
status)
    [ -d "$repository" ] || { printf 'nothing\0'; exit 0; }
    [ -e "$repository/.git" ] || { printf 'no checkout\0'; exit 0; }
    # Not what is in a submodule: git would start one more there, with that one's configuration.
    ask status --porcelain=v2 --branch --untracked-files=all --ignore-submodules=dirty -z || exit
    ask ls-files -v -z | grep -z '^[a-zS] ' || [ $? = 1 ] ;;
hidden)
    while IFS= read -r file; do
        [ -e "$repository/$file" ] || continue
        [ "$(ask hash-object -- "$file")" = "$(ask rev-parse "HEAD:$file")" ] || printf '%s\n' "$file"
    done ;;
upstream)
    # git runs in a session without a terminal: ssh cannot prompt.
    remote=$(ask config "branch.$2.remote") && branch=$(ask config "branch.$2.merge") || exit
    as setsid --wait timeout -k 5 "$3" git -C "$repository" -c safe.directory='*' ls-remote \
        "$remote" "$branch" ;;
esac
