# git, without writing the index or prompting, and as the checkout's owner, because the checkout's
# configuration names programs (filters, ssh, transports) that must not run as root. A .git that is
# a file names the directory with that configuration, and a linked work tree's names one more. The path
# is resolved once: whoever owns a directory above it may exchange a link in it at any time. The
# directories above those that git finds by itself are judged as they are written and as they are
# resolved, and so is each file that the configuration includes: one that is not there may come to be.
# What lies between, in a chain of links, is not judged.

export LC_ALL=C GIT_OPTIONAL_LOCKS=0 GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=false
export SSH_ASKPASS_REQUIRE=never
repository=$(realpath -e -- "$1" 2>/dev/null) || [ $? = 1 ] || exit 127
repository=${repository:-/nonexistent}
as() { "$@"; }
# from DIRECTORY PATH: PATH, which is relative to DIRECTORY unless it is absolute.
from() { case $2 in /*) printf '%s\n' "$2" ;; *) printf '%s\n' "$1/$2" ;; esac; }
# own PATH: refuses what others than the checkout's owner or root may write.
own() {
    [ -e "$1" ] || return 0
    uid=$(stat -L -c %u -- "$1")
    if [ "$uid" != 0 ] && [ "$uid" != "$owner" ]; then
        echo "$repository belongs to the user $owner, and $1 to the user $uid, whose \
programs git would run: give both to one user" >&2
        exit 77
    fi
    # With an ACL, the group's bits are those of everybody whom it names.
    if [ "$owner" = 0 ] && [ -n "$(find -L "$1" -maxdepth 0 -perm /022)" ]; then
        echo "$1 belongs to root but others may write to it, so running git there as root \
is not safe: chmod go-w $1" >&2
        exit 77
    fi
}
# kept PATH: refuses what others than root may exchange, if root owns the checkout.
kept() {
    for path in "$1" "$(realpath -m -- "$1")"; do
        while [ "$owner" = 0 ] && [ -n "$path" ]; do
            path=${path%/*}
            [ -e "${path:-/}" ] || continue
            # In a directory with the sticky bit, such as /tmp, nobody renames another's.
            if [ -z "$(find "${path:-/}" -maxdepth 0 -uid 0 \
                \( -type l -o ! -perm -002 -o -perm -1000 \))" ]; then
                echo "$repository belongs to root, and others may exchange it, because they may \
write to ${path:-/}, so running git there as root is not safe: move the checkout" >&2
                exit 77
            fi
        done
    done
}
if [ "$(id -u)" = 0 ]; then
    directory=$repository/.git
    [ ! -f "$directory" ] ||
        directory=$(from "$repository" "$(sed -n '1s/^gitdir: //p' "$directory")")
    common=$directory
    [ ! -f "$directory/commondir" ] ||
        common=$(from "$directory" "$(sed -n 1p "$directory/commondir")")
    owner=0
    for path in "$repository" "$repository/.git" "$directory" "$directory/config.worktree" \
        "$common" "$common/config"; do
        [ ! -e "$path" ] || [ "$owner" != 0 ] || owner=$(stat -L -c %u -- "$path")
        own "$path"
    done
    [ -e "$directory" ] || directory=$repository common=$repository
    kept "$repository"
    kept "$directory"
    kept "$common"
    if [ "$owner" != 0 ]; then
        home=$(getent passwd "$owner" | cut -d: -f6)
        # Not the checkout's group, which may be root's.
        group=$(getent passwd "$owner" | cut -d: -f4)
        [ "${group:-0}" != 0 ] || group=$owner
        as() {
            setpriv --reuid "$owner" --regid "$group" --clear-groups --no-new-privs \
                env -i "PATH=$PATH" "HOME=${home:-/nonexistent}" LC_ALL=C GIT_OPTIONAL_LOCKS=0 \
                GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=false SSH_ASKPASS_REQUIRE=never "$@"
        }
    fi
fi
ask() {
    as git -C "$repository" --work-tree=. -c safe.directory='*' -c core.fsmonitor=false \
        -c core.hooksPath=/dev/null "$@"
}
if [ "$(id -u)" = 0 ] && [ -e "$repository/.git" ]; then
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
