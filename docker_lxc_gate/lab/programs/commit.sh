# Makes a clone of the folder $1, and its bare upstream: PRE-2 demands a current clone.
set -e
export GIT_AUTHOR_DATE=2025-01-01T00:00:00Z GIT_COMMITTER_DATE=2025-01-01T00:00:00Z
export GIT_CONFIG_COUNT=3 GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0=lab
export GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=lab@localhost
export GIT_CONFIG_KEY_2=init.defaultBranch GIT_CONFIG_VALUE_2=main
cd "$1"
git init -q
git add -A
git commit -q -m 'phoenix_hypervisor'
git clone -q --bare . /srv/phoenix_hypervisor.git
git remote add origin /srv/phoenix_hypervisor.git
git fetch -q
git branch -q --set-upstream-to=origin/main
