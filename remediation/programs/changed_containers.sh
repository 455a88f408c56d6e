# Prints the names of Docker's containers that apply carried over and that changed files of their own
# since. A stopped Docker is not asked, because its socket would start it: then it ends with 3.
# The argument is Docker's directory.
# shellcheck disable=SC2016 # the format is Docker's

kept=$1/docker-lxc-gate
[ -d "$kept/former/containers" ] || exit 0
systemctl is-active -q docker || exit 3
ids=$(docker ps -aq --no-trunc) || exit 4
format='{{.Id}} {{.Name}} {{.GraphDriver.Data.UpperDir}}'
found=$(printf '%s\n' "$ids" | xargs -r docker inspect -f "$format") || exit 4
printf '%s\n' "$found" |
    while read -r id name folder; do
        [ -d "$kept/former/containers/$id" ] || continue
        # "docker export" and "docker cp" leave the mark of a directory .pivot_root*.
        newer=$(find "$folder" -mindepth 1 ! -name '.pivot_root*' -cnewer "$kept" -print -quit)
        [ -z "$newer" ] || echo "${name#/}"
    done
