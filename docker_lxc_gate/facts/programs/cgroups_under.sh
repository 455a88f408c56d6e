# Prints the cgroups of the processes under a profile, given as a pattern of grep's. There may be more
# of them than one command line holds.

grep -lsE "^$1( |//|$)" /proc/[0-9]*/attr/apparmor/current | sed 's|attr/.*|cgroup|' |
    xargs -r grep -as '' /dev/null || [ $? = 123 ]
