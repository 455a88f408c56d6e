# shellcheck disable=SC2154 # checkout.sh sets the repository
# Runs after checkout.sh: git, without writing the index or prompting, and as the checkout's owner. Each file
# that the configuration includes is judged, too: one that is not there may come to be. Its name is the task:
# "status" prints the state of a checkout, and each file whose content is not the commit's, "= " before it;
# "upstream BRANCH SECONDS" asks the upstream for its commit.

export GIT_OPTIONAL_LOCKS=0 GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=false SSH_ASKPASS_REQUIRE=never
ask() {
    as git --no-replace-objects -C "$repository" --work-tree=. -c safe.directory='*' -c core.fsmonitor=false \
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
    ask rev-parse -q --verify HEAD >/dev/null || exit 0
    # The content as it lies there: a filter, or a mark in the index, hides a change from git status. What
    # is absent here was said above, or is left out of a sparse checkout. A line feed in a name is \1.
    files=$(ask ls-tree -r -z HEAD | tr '\n\0' '\1\n' | while IFS= read -r line; do
        path=$repository/${line#*	}
        case $line in
        100*) [ ! -e "$path" ] && [ ! -L "$path" ] || printf '%s\n' "${line#* blob }" ;;
        esac
    done)
    [ -n "$files" ] || exit 0
    # In the place of anything but a file, git would wait for a pipe, or follow a link.
    hashes=$(printf '%s\n' "$files" | cut -f2- | while IFS= read -r name; do
        [ -f "$repository/$name" ] && [ ! -L "$repository/$name" ] || name=/dev/null
        printf '%s\n' "$name"
    done | ask hash-object --no-filters --stdin-paths) || exit
    printf '%s\n' "$hashes" '' "$files" | awk -F '\t' '
        !split_at && $0 == "" { split_at = NR; next }
        !split_at { hash[NR] = $0; next }
        hash[NR - split_at] != $1 { print "= " substr($0, length($1) + 2) }
    ' | tr '\n\1' '\0\n' ;;
upstream)
    # git runs in a session without a terminal: ssh cannot prompt.
    remote=$(ask config "branch.$2.remote") && branch=$(ask config "branch.$2.merge") || exit
    as setsid --wait timeout -k 5 "$3" git -C "$repository" -c safe.directory='*' ls-remote \
        "$remote" "$branch" ;;
esac
