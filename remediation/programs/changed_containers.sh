# Prints the names of Docker's containers that apply carried over and that changed files of their own
# since. A stopped Docker is not asked: its socket would start it. The argument is Docker's directory.
# shellcheck disable=SC2016 # the format is Docker's

kept=$1/docker-lxc-gate
systemctl is-active -q docker && [ -d "$kept/former/containers" ] || exit 0
docker ps -aq --no-trunc |
    xargs -r docker inspect -f '{{.Id}} {{.Name}} {{.GraphDriver.Data.UpperDir}}' |
    while read -r id name folder; do
        [ -d "$kept/former/containers/$id" ] || continue
        # "docker export" and "docker cp" leave the mark of a directory .pivot_root*.
        newer=$(find "$folder" -mindepth 1 ! -name '.pivot_root*' -cnewer "$kept" -print -quit)
        [ -z "$newer" ] || echo "${name#/}"
    done
