echo 'Adding AppArmor nesting tunable for lxc-phoenix-v2...'
echo '@{apparmor_nesting_profiles} = lxc-phoenix-v2' > /etc/apparmor.d/tunables/nesting
