# Answers looks, one after the other: each is a line `look MARK COMMAND…`. Both outputs of a command stand
# between two lines with its mark. The second line has the exit code, and a + if the command had a
# process group of its own (timeout makes one) and left processes in it, which can still write into
# this shell's output.

look() {
    mark=$1 left=''
    shift
    printf '\n%s\n' "$mark"
    printf '\n%s\n' "$mark" >&2
    "$@" </dev/null &
    wait $!
    code=$?
    kill -0 "-$!" 2>/dev/null && left=+
    printf '\n%s %s\n' "$mark" "$code$left"
    printf '\n%s %s\n' "$mark" "$code$left" >&2
}
