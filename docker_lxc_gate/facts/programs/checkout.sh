# as: runs a program as a checkout's owner, because the checkout's configuration names programs (filters,
# ssh, transports) that must not run as root. A .git that is a file names the directory with that
# configuration, and a linked work tree's names one more. The path is resolved once: whoever owns a
# directory above it may exchange a link in it at any time. The directories above those that git finds by
# itself are judged as they are written and as they are resolved. What lies between, in a chain of links, is
# not judged.

export LC_ALL=C
repository=$(realpath -e -- "$1" 2>/dev/null) || [ $? = 1 ] || exit 127
repository=${repository:-/nonexistent}
as() { "$@"; }
# from DIRECTORY PATH: PATH, which is relative to DIRECTORY unless it is absolute.
from() { case $2 in /*) printf '%s\n' "$2" ;; *) printf '%s\n' "$1/$2" ;; esac; }
# own PATH…: refuses what others than the checkout's owner or root may write. Until that is settled, the
# owner is that of the first path which is not root's.
own() {
    for path; do
        shift
        [ ! -e "$path" ] || set -- "$@" "$path"
    done
    [ $# != 0 ] || return 0
    told=$(stat -L -c '%u %a' -- "$@") || exit 77
    while read -r uid mode; do
        [ "$owner" != 0 ] || owner=${settled:-$uid}
        if [ "$uid" != 0 ] && [ "$uid" != "$owner" ]; then
            echo "$repository belongs to the user $owner, and $1 to the user $uid, whose \
programs git would run: give both to one user" >&2
            exit 77
        fi
        # With an ACL, the group's bits are those of everybody whom it names.
        if [ "$owner" = 0 ] && [ $((0$mode & 022)) != 0 ]; then
            echo "$1 belongs to root but others may write to it, so running git there as root \
is not safe: chmod go-w $1" >&2
            exit 77
        fi
        shift
    done <<END
$told
END
}
# kept PATH: refuses what others than root may exchange, if root owns the checkout.
kept() {
    [ "$owner" = 0 ] || return 0
    written=$1 resolved=$1
    [ "$1" = "$repository" ] || resolved=$(realpath -m -- "$1") || exit 77
    set --
    for path in "$written" "$resolved"; do
        while [ -n "$path" ]; do
            path=${path%/*}
            [ ! -e "${path:-/}" ] || set -- "$@" "${path:-/}"
        done
    done
    # In a directory with the sticky bit, such as /tmp, nobody renames another's.
    open=$(find "$@" -maxdepth 0 \
        ! \( -uid 0 \( -type l -o ! -perm -002 -o -perm -1000 \) \)) || [ -n "$open" ] || exit 77
    [ -n "$open" ] || return 0
    echo "$repository belongs to root, and others may exchange it, because they may \
write to $(printf '%s\n' "$open" | sed q), so running git there as root is not safe: move the checkout" >&2
    exit 77
}
user=$(id -u) || exit 127
if [ "$user" = 0 ]; then
    directory=$repository/.git
    [ ! -f "$directory" ] ||
        directory=$(from "$repository" "$(sed -n '1s/^gitdir: //p' "$directory")")
    common=$directory
    [ ! -f "$directory/commondir" ] ||
        common=$(from "$directory" "$(sed -n 1p "$directory/commondir")")
    owner=0 settled=
    own "$repository" "$repository/.git" "$directory" "$directory/config.worktree" \
        "$common" "$common/config"
    settled=$owner
    [ -e "$directory" ] || directory=$repository common=$repository
    kept "$repository"
    kept "$directory"
    [ "$common" = "$directory" ] || kept "$common"
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
