# Gives the backups in a snapshot the present time.
# shellcheck disable=SC2154,SC2164 # prelude.bash sets it, and -e
cd "$dump"; now=$(date +%Y_%m_%d-%H_%M_%S)
for each in vzdump-* etc-*; do
    new=$(echo "$each" | sed -E "s/[0-9]{4}(_[0-9]{2}){2}-[0-9]{2}(_[0-9]{2}){2}/$now/")
    [ "$each" = "$new" ] || mv "$each" "$new"
done
