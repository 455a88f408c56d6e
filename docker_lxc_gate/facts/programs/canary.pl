# Asks the kernel for a profile that does not exist. The kernel refuses and logs a denial; nothing on
# the node changes (kernel security/apparmor/domain.c, aa_change_profile: "label not found").

use strict;
my ($name) = @ARGV;
my $attributes = "/proc/self/attr/apparmor";
$attributes = "/proc/self/attr" unless -e "$attributes/exec";
open my $exec, ">", "$attributes/exec" or die "$attributes/exec: $!\n";
print defined syswrite($exec, "exec $name") ? "allowed" : "refused", ": $!\n";
