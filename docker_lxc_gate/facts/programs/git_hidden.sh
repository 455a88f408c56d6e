# after docker_lxc_gate/facts/programs/git.sh
# shellcheck disable=SC2154 # git.sh sets the repository
# Prints the changed ones of the files that git was told to overlook, one a line.

while IFS= read -r file; do
    [ -e "$repository/$file" ] || continue
    [ "$(ask hash-object -- "$file")" = "$(ask rev-parse "HEAD:$file")" ] || printf '%s\n' "$file"
done
