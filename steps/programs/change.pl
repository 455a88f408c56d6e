# Changes files of the image's layers in a Docker container: what it leaves is the next layer.

unlink "/gate/layers/8" or die "unlink: $!\n";
unlink "/gate/hidden/new" or die "unlink: $!\n";
rmdir "/gate/hidden" or die "rmdir: $!\n";
mkdir "/gate/hidden" or die "mkdir: $!\n";
for my $name ("hidden/newest", "last") {
    open my $file, ">", "/gate/$name" or die "open $name: $!\n";
    print $file "30";
    close $file or die "close $name: $!\n";
}
chown 1001, 1001, "/gate/owned/changed" or die "chown: $!\n";
