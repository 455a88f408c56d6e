# after docker_lxc_gate/facts/programs/checkout.sh
# shellcheck disable=SC2154 # checkout.sh sets the repository
# Runs a program, as the checkout's owner, on a file of it, in whose place he may put a link or a pipe.

file=$repository/$2
shift 2
as timeout 30 "$@" "$file"
