# after docker_lxc_gate/facts/programs/git.sh
# shellcheck disable=SC2154 # git.sh sets the repository
# Asks the upstream for its commit. git runs in a session without a terminal: ssh cannot prompt.

remote=$(ask config "branch.$2.remote") && branch=$(ask config "branch.$2.merge") || exit
as setsid --wait timeout -k 5 "$3" git -C "$repository" -c safe.directory='*' ls-remote "$remote" "$branch"
