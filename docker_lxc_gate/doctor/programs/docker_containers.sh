# Prints Docker's containers, at most 200, each as JSON in a line.

ids=$(asked ps -aq --no-trunc) || exit
# shellcheck disable=SC2046 # each id is a word
[ -z "$ids" ] || asked inspect $(echo "$ids" | head -n 200) -f '{"Name":{{json .Name}},"Error":{{json .State.Error}},"Mounts":{{json .Mounts}},"Running":{{json .State.Running}},"Created":{{json .Created}},"StartedAt":{{json .State.StartedAt}},"AppArmorProfile":{{json .AppArmorProfile}},"Devices":{{json .HostConfig.Devices}},"Privileged":{{json .HostConfig.Privileged}}}'
