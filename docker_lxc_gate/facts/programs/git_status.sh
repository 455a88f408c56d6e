# after docker_lxc_gate/facts/programs/git.sh
# shellcheck disable=SC2154 # git.sh sets the repository
# Prints the state of a checkout, and the files that git was told to overlook.

[ -d "$repository" ] || { printf 'nothing\0'; exit 0; }
[ -e "$repository/.git" ] || { printf 'no checkout\0'; exit 0; }
# Not what is in a submodule: git would start one more there, with that one's configuration.
ask status --porcelain=v2 --branch --untracked-files=all --ignore-submodules=dirty -z || exit
ask ls-files -v -z | grep -z '^[a-zS] ' || [ $? = 1 ]
