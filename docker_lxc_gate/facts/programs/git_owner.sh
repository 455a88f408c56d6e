# after docker_lxc_gate/facts/programs/git.sh
# Runs a program as the checkout's owner, who may put a link or a pipe in the place of a file of it.

shift
as timeout 30 "$@"
