# Opens the kernel's audit. `status` reads struct audit_status: its fourth number is the process
# that receives the records (auditd), its seventh the number of lost records.

use strict;
my ($netlink, $raw, $audit) = (16, 3, 9);
socket(my $kernel, $netlink, $raw, $audit) or die "the kernel's audit: $!\n";

sub status {
    my ($socket) = @_;
    my ($get, $request) = (1000, 1);
    send($socket, pack("LSSLL", 16, $get, $request, 1, 0), 0) or die "the kernel's audit: $!\n";
    defined recv $socket, my $status, 8192, 0 or die "the kernel's audit: $!\n";
    my ($type, $reader, $lost) = unpack "x4 S x10 x12 L x8 L", $status;
    die "the kernel's audit sent no status\n" unless $type == $get;
    return ($reader, $lost);
}
