abi <abi/3.0>,
#include <tunables/global>
@{apparmor_nesting_profiles} = a
profile "lxc-a" flags=(complain) {
  include <abstractions/base>
  include <lxc-docker>
  change_profile -> **,
  mount fstype=(proc, sysfs) -> /{a,b}/**,
}
lxc.apparmor.profile: lxc-a
