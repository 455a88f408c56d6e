# Runs in a Docker container of the image.
# "change" changes files of the image's layers: what it leaves is the next layer.
# "list" lists the files below /gate: path, mode, owner, group, links, the first path of the same inode, an
# extended attribute and the content. The image's environment has the number of getxattr(2).
# "serve WORD" answers each connection to port 8080 with the word, and then with what it gets.
# "write WORD" writes the word into the volume, says so, and waits.

my ($task, $word) = @ARGV;
sub change {
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
}
my %first;
sub list_folder {
    my ($folder) = @_;
    opendir my $open, "/gate/$folder" or die "opendir $folder: $!\n";
    for my $name (sort grep { !/^\.\.?\z/ } readdir $open) {
        my $path = "$folder$name";
        my ($device, $inode, $mode, $links, $user, $group) = lstat "/gate/$path" or die "$path: $!\n";
        my $is_folder = -d _;
        my ($attribute, $content) = ("\0" x 64, "");
        my ($place, $key) = ("/gate/$path", "user.gate");  # a constant cannot be passed
        my $length = syscall $ENV{GETXATTR} + 0, $place, $key, $attribute, 64;
        $attribute = $length > 0 ? substr $attribute, 0, $length : "-";
        if (!$is_folder) {
            open my $file, "<", "/gate/$path" or die "open $path: $!\n";
            read $file, $content, 64;
        }
        my $same = $is_folder ? "-" : "$links:" . ($first{"$device:$inode"} //= $path);
        $path .= "/" if $is_folder;
        printf "%s %04o %d:%d %s %s %s\n", $path, $mode & 07777, $user, $group, $same, $attribute,
            $is_folder ? "-" : $content;
        list_folder($path) if $is_folder;
    }
}
sub serve {
    $SIG{TERM} = sub { exit };
    $SIG{PIPE} = "IGNORE";
    socket my $server, 2, 1, 0 or die "socket: $!\n";
    bind $server, pack "S n x12", 2, 8080 or die "bind: $!\n";
    listen $server, 8 or die "listen: $!\n";
    while (accept my $client, $server) {
        syswrite $client, "$word\n";
        while (sysread $client, my $part, 65536) { syswrite $client, $part }
        close $client;
    }
}
sub write_word {
    $SIG{TERM} = sub { exit };
    open my $file, ">>", "/gate/data/written" or die "open written: $!\n";
    print $file "$word\n";
    close $file or die "close written: $!\n";
    syswrite STDOUT, "done\n";
    sleep 1 while 1;
}
if ($task eq "change") { change() }
elsif ($task eq "list") { list_folder("") }
elsif ($task eq "serve") { serve() }
else { write_word() }
