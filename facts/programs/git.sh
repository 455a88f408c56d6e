# git, without writing the index or prompting, and as the checkout's owner, because the checkout's
# configuration names programs (filters, ssh, transports) that must not run as root.

export LC_ALL=C GIT_OPTIONAL_LOCKS=0 GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=false
export SSH_ASKPASS_REQUIRE=never
repository=$1
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then
    for path in "$repository" "$repository/.git" "$repository/.git/config"; do
        [ -e "$path" ] || continue
        owner=$(stat -L -c %u -- "$path"); group=$(stat -L -c %g -- "$path")
        [ "$owner" = 0 ] || break
        if [ -n "$(find -L "$path" -maxdepth 0 -perm /022)" ]; then
            echo "$path belongs to root but others may write to it, so running git there as root \
is not safe: chmod go-w $path" >&2
            exit 77
        fi
    done
    if [ "${owner:-0}" != 0 ]; then
        home=$(getent passwd "$owner" | cut -d: -f6)
        as() {
            setpriv --reuid "$owner" --regid "$group" --clear-groups --no-new-privs \
                env -u SSH_AUTH_SOCK -u XDG_CONFIG_HOME "HOME=${home:-/nonexistent}" "$@"
        }
    fi
fi
ask() {
    as git -C "$repository" --work-tree=. -c safe.directory='*' -c core.fsmonitor=false \
        -c core.hooksPath=/dev/null "$@"
}
