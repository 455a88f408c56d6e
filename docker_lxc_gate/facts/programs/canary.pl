# Asks the kernel for a profile that does not exist: first under the container's profile, then as
# its user, then as root. The kernel refuses and logs a denial; nothing on the node changes (kernel
# security/apparmor/domain.c, aa_change_profile: "label not found"). No program runs under the
# profile, because that could cause other denials.

use strict;
my ($nonce, $uid, $gid, $profile) = @ARGV;
sub attempt {
    my ($name, $uid, $gid, $profile) = @_;
    defined(my $child = fork) or die "fork: $!\n";
    waitpid($child, 0), return if $child;
    my $attributes = "/proc/self/attr/apparmor";
    $attributes = "/proc/self/attr" unless -e "$attributes/exec";
    open my $exec, ">", "$attributes/exec" or die "$attributes/exec: $!\n";
    open my $current, ">", "$attributes/current" or die "$attributes/current: $!\n";
    if ($uid) {
        $) = "$gid $gid";
        $( = $gid;
        ($<, $>) = ($uid, $uid);
        die "user $uid: $!\n" unless $< == $uid and $> == $uid;
    }
    my $entered = !$profile || defined syswrite $current, "changeprofile $profile";
    my $done = $entered && defined syswrite $exec, "exec $nonce$name";
    print $name, " ", !$entered ? "not entered" : $done ? "allowed" : "refused", ": $!\n";
    exit;
}
$| = 1;
if ($profile and open my $loaded, "<", "/sys/kernel/security/apparmor/profiles") {
    attempt("profile", $uid, $gid, $profile) if grep $_ eq "$profile (enforce)\n", <$loaded>;
}
attempt("user", $uid, $gid, "") if $uid;
attempt("root", 0, 0, "");
