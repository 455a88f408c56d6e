# Installs a package, and others that come with it where the release has them; or says what that
# would do. What is there already stays as it is: an upgrade could not be rolled back.
# Its name is what to do: install, or simulate. Arguments: the packages.
# shellcheck disable=SC2086 # words

# with_these COMMAND PACKAGE...: has apt, or look, install packages.
with_these() {
    command=$1
    shift
    "$command" install --no-install-recommends --no-upgrade "$@"
}
known() {
    plan=$(with_these look "$@" 2>/dev/null)
}
if test "$0" = install
then
    with_these apt "$@" && exit
    known "$@" && exit 1
elif known "$@"
then
    printf '%s\n' "$plan"
    exit
fi
names=$1
for each
do test "$each" = "$1" || ! known "$1" "$each" || names="$names $each"
done
case $0 in
    install) test "$names" != "$*" && with_these apt $names ;;
    *) with_these look $names ;;
esac
