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
feed=$(printf '\1')
# named NAME: sets a file's own name and its path.
named() {
    own_name=$1
    case $1 in *"$feed"*) own_name=$(printf '%s.' "$1" | tr '\1' '\n') own_name=${own_name%.} ;; esac
    path=$repository/$own_name
}
# Whether the owner may execute the file as the commit says.
moded() {
    [ "$modes" != false ] || return 0
    [ -x "$path" ] && now=100755 || now=100644
    [ "$now" != "$mode" ] || return 0
    # On some file systems nothing is executed, and others may execute what the owner may not.
    case $mode$(find "$path" -prune -perm -100) in 100755/* | 100644) ;; *) false ;; esac
}
# converted HASH: whether the file is the commit's by git's own conversions, of line ends for instance, which
# run no program, or by the sum that the commit has of a file in LFS.
converted() {
    [ -n "$1" ] || return
    case $(ask check-attr filter -- "$own_name") in
    *': unspecified' | *': unset')
        [ "$(ask hash-object --path="$own_name" -- "./$own_name")" = "$1" ]
        ;;
    *': lfs')
        sum=$(as cat -- "$path" | sha256sum)
        ask cat-file blob "$1" | grep -qx "oid sha256:${sum%% *}"
        ;;
    *) false ;;
    esac
}
case $0 in
status)
    [ -d "$repository" ] || { printf 'nothing\0'; exit 0; }
    [ -e "$repository/.git" ] || { printf 'no checkout\0'; exit 0; }
    # Not what is in a submodule: git would start one more there, with that one's configuration.
    ask status --porcelain=v2 --branch --untracked-files=all --ignore-submodules=dirty -z || exit
    # Scripts that this node alone was told to ignore, by .git/info/exclude or core.excludesFile.
    ask ls-files -z --others --exclude-per-directory=.gitignore -- 'bin/*.sh' | sed -z 's/^/? /'
    ask rev-parse -q --verify HEAD >/dev/null || exit 0
    # Each file as it lies there: a filter, or a mark in the index, hides a change from git status. A line feed
    # in a name is \1. Of a file without a hash here it is known that it differs.
    sparse=$(ask config --type=bool core.sparseCheckout) modes=$(ask config --type=bool core.fileMode)
    files=$(ask ls-tree -r -z HEAD | tr '\n\0' '\1\n' | while IFS= read -r line; do
        mode=${line%% *} name=${line#*	} hash=${line%%	*}
        hash=${hash##* }
        named "$name"
        if [ ! -e "$path" ] && [ ! -L "$path" ]; then
            # What a submodule lacks, git status says.
            [ "$sparse" = true ] || [ "$mode" = 160000 ] || hash=
            [ -z "$hash" ] || continue
        elif [ "$mode" = 120000 ]; then
            [ -L "$path" ] && [ "$(as readlink -n -- "$path" | ask hash-object --stdin)" = "$hash" ] && continue
            hash=
        elif [ "$mode" = 160000 ]; then
            continue
        elif [ ! -f "$path" ] || [ -L "$path" ] || ! moded; then
            hash= # git would wait for a pipe, or follow a link
        fi
        printf '%s\t%s\n' "$hash" "$name"
    done)
    [ -n "$files" ] || exit 0
    hashes=$(printf '%s\n' "$files" | while IFS= read -r line; do
        case $line in
        '	'* | *"$feed"*) name=/dev/null ;; # these are compared below
        *'	"'*) name=./${line#*	} ;;        # git would unquote it
        *) name=${line#*	} ;;
        esac
        printf '%s\n' "$name"
    done | ask hash-object --no-filters --stdin-paths) || exit
    printf '%s\n' "$hashes" '' "$files" | awk -F '\t' '
        !split_at && $0 == "" { split_at = NR; next }
        !split_at { hash[NR] = $0; next }
        hash[NR - split_at] != $1 || /\001/
    ' | while IFS= read -r line; do
        named "${line#*	}"
        converted "${line%%	*}" || printf '= %s\n' "${line#*	}"
    done | tr '\n\1' '\0\n' ;;
upstream)
    # git runs in a session without a terminal: ssh cannot prompt.
    remote=$(ask config "branch.$2.remote") && branch=$(ask config "branch.$2.merge") || exit
    url=$(ask ls-remote --get-url "$remote") own=$(from "$repository" "$(ask rev-parse --git-common-dir)")
    there=$(from "$repository" "${url#file://}")
    if [ "$there" -ef "$own" ] || [ "$there/.git" -ef "$own" ]; then
        echo "it is a branch of this checkout" >&2 && exit 1
    fi
    as setsid --wait timeout -k 5 "$3" git -C "$repository" -c safe.directory='*' ls-remote \
        "$remote" "$branch" ;;
esac
