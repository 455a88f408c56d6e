# Carries what Docker holds over to another storage driver: makes the new driver's directories next
# to the former ones, which it does not change. Files of image layers are hard-linked, because no
# driver writes to them; all else is copied. Docker's "containers" and "buildkit" are replaced by
# copies and kept in docker-lxc-gate/former, where a rollback finds them.
#
# Arguments: "look" or "carry", Docker's directory, the former driver, the new driver, and /proc.
# "look" changes nothing. It prints how many images and containers would be carried over, and how
# many bytes copied, or "no" and the reason. "carry" needs a stopped Docker, and does all or fails.
# Sources: moby daemon/graphdriver/overlay2 and fuse-overlayfs; overlayfs.rst; fuse-overlayfs(1).

use strict;
use warnings;
use Config;
use Cwd;
use Errno qw(ENOENT ENOTDIR ENOTSUP);
my ($verb, $root, $old, $new, $proc) = @ARGV;
$root = Cwd::realpath($root) // $root;
my ($kept, $image) = ("$root/docker-lxc-gate", "image/$old");
my @copied = grep { -d "$root/$_" } "containers", "buildkit";
my %numbers = (x86_64 => [188, 195, 198], aarch64 => [5, 12, 15], riscv64 => [5, 12, 15]);
my ($machine) = $Config{archname} =~ /^(x86_64|aarch64|riscv64)/;
my ($set, $list, $remove) = @{$numbers{$machine // ""} // []};
my ($whiteout, $opaque) = (".wh.", ".wh..wh..opq");
my $margin = 100 << 20;
# cp and convert() name a copy by a longer path than its original.
my $longest = 4000;
my $has_begun = 0;

sub stop {
    system("rm", "-rf", "--", "$kept/new") if $has_begun;  # a full disk needs the space
    print "no $_[0]\n" if $verb eq "look";
    print STDERR "not carried over to $new: $_[0]\n" if $verb ne "look";
    exit($verb eq "look" ? 0 : 1);
}

# Stops at a file that cannot be read. If a running Docker removed it, "look" goes on without it.
sub unreadable {
    stop("$!: $_[0]") unless $verb eq "look" and ($! == ENOENT or $! == ENOTDIR);
}

sub content {
    open my $file, "<", $_[0] or do { unreadable($_[0]); return "" };
    local $/;
    return <$file> // "";
}

sub entries {
    opendir my $folder, $_[0] or do { unreadable($_[0]); return () };
    return sort grep !/^\.\.?$/, readdir $folder;
}

sub below {
    return -d $_[0] ? map "$_[0]/$_", entries($_[0]) : ();
}

sub settings {
    return grep -f, map "$_/config.v2.json", below($_[0]);
}

sub attributes {
    my ($path, $names) = ("$_[0]", "\0" x 65536);
    my $length = syscall($list, $path, $names, length $names);
    unreadable($path) if $length < 0 and $! != ENOTSUP;
    return $length > 0 ? split(/\0/, substr $names, 0, $length) : ();
}

# The driver of a container's settings, and where its name begins.
sub driver {
    my $depth = 0;
    while ($_[0] =~ /\G(?:([{\[])|([}\]])|"([^"\\]*+(?:\\.[^"\\]*+)*+)"(\s*:)?+|[^"{}\[\]]++)/gcs) {
        $depth += defined $1 ? 1 : defined $2 ? -1 : 0;
        next unless $depth == 1 and defined $4 and $3 eq "Driver";
        return ($1, pos($_[0]) - 1 - length $1) if $_[0] =~ /\G\s*"([a-z0-9-]*)"/gc;
    }
    return ("", 0);
}

my ($bytes, $files, %seen) = (0, 0);
my $device = (stat $root)[0] // 0;

# Counts what a copy of a tree needs; of a linked one, only directories. What is mounted is left out.
sub count {
    my ($linked, @todo) = @_;
    while (defined(my $path = pop @todo)) {
        stop("File name too long: $path") if length $path > $longest;
        my ($on, $inode, $links, $is, $blocks) = (lstat $path)[0, 1, 3, 6, 12];
        unreadable($path) unless defined $on;
        next unless defined $on and $on == $device;
        my ($folder, $file, $special) = (-d _, -f _, -b _ || -c _);
        for ($folder || $file ? attributes($path) : ()) {
            stop("$path has the attribute $_")
                if /^(user|trusted)\.overlay\.(redirect$|metacopy$|whiteout$|overlay\.)/ or /\.override_stat$/
                or /^user\.fuseoverlayfs\./ && ($old eq "overlay2" or $linked && $file);
        }
        if ($linked and not $folder) {
            stop("$path has $links links") if $links > 30000;
            next;
        }
        stop("$path is a device") if $special and $is != 0;
        $files++;
        $bytes += 512 * $blocks unless $seen{$inode}++;
        next unless $folder;
        my @names = entries($path);
        for (grep /^\Q$whiteout/, @names) {
            my $hidden = substr $_, length $whiteout;
            next if $new eq "overlay2" and $_ eq $opaque;
            stop("$path/$_ would mean something else") if $new ne "overlay2" or $hidden eq ""
                or $hidden =~ /^\Q$whiteout/ or lstat "$path/$hidden" && -d _;
        }
        push @todo, map "$path/$_", @names;
    }
}

my %is_layer;
my ($images, $containers) = (0, 0);

sub look {
    return if not -d "$root/$image/layerdb" and not -e "$root/$old";
    stop("it has data of more than one driver") if grep $_ ne $old, entries("$root/image");
    stop("$root/$new is there already") if -e "$root/$new";
    stop("$kept is there already") if -e $kept;
    stop("this container is privileged") if content("$proc/self/uid_map") =~ /^\s*0\s+0\s+4294967295/;
    stop("this machine's system calls are not known") unless $set;
    stop("it has no cp of GNU's") unless `cp --version 2>&1` =~ /GNU coreutils/;
    for ("image", $image, $old, @copied) {
        my ($on) = lstat "$root/$_";
        stop("$root/$_ is no directory") unless -d _;
        stop("$root/$_ is on another file system") if $on != $device;
    }
    my @mounts = map { (split " ")[4] } split /\n/, content("$proc/self/mountinfo");
    s/\\([0-7]{3})/chr oct $1/ge for @mounts;
    for my $place ("image", $image, $old, @copied) {
        my $below = $verb eq "carry" ? qr{^\Q$root/$place\E(/|$)} : qr{^\Q$root/$place\E$};
        my ($mount) = grep /$below/, @mounts;
        stop("$mount is mounted") if defined $mount;
    }
    open my $disk, "-|", "stat", "-f", "-c", "%S %a %d %c %T", $root or stop("stat: $!");
    my ($size, $free, $left, $all, $type) = split " ", <$disk> // stop("stat failed");
    stop("it is on the file system $type") unless $type =~ m{^(ext2/ext3|xfs|btrfs|zfs)$};
    for my $layer (map below($_), grep !m{/mounts$}, below("$root/$image/layerdb")) {
        $is_layer{content("$layer/cache-id")} = 1 if -f "$layer/cache-id";
    }
    for my $id (entries("$root/$old")) {
        if ($is_layer{$id}) {
            count(1, "$root/$old/$id/diff");
            count(0, map "$root/$old/$id/$_", grep $_ ne "diff", entries("$root/$old/$id"));
        } else {
            count(0, "$root/$old/$id");
        }
    }
    count(0, map "$root/$_", $image, @copied);
    $images = () = below("$root/$image/imagedb/content/sha256");
    $containers = grep +(driver(content($_)))[0] eq $old, settings("$root/containers");
    return unless $images or $containers;
    stop("it lacks space: $bytes bytes are to be copied") if $bytes + $margin > $size * $free;
    stop("it lacks inodes: $files are needed") if $all and $files + 1000 > $left;
}

sub run {
    system(@_) == 0 or stop("$_[0] failed");
}

sub folder {
    my ($from, $to) = @_;
    my ($mode, $user, $group, $read, $written) = (stat $from)[2, 4, 5, 8, 9];
    mkdir $to or stop("$to: $!");
    chown($user, $group, $to) and chmod($mode & 07777, $to) or stop("$to: $!");
    return sub { utime $read, $written, $to or stop("$to: $!") };
}

my @copy = ("cp", "-a", "--preserve=xattr");

sub copy {
    my ($to, @from) = @_;
    run(@copy, "-t", $to, "--", @from) if @from;
}

# Replaces links by copies where programs refuse a file with more than one link, as cron and logrotate do:
# overlay2 shows how many a file has. The time of a directory stays.
sub unlink_counted {
    my ($from, $to) = @_;
    for (["etc", qr{^(cron|logrotate\.d$)}], ["var/spool", qr{^cron$}]) {
        my ($in, $names) = @$_;
        next if grep { -l "$from/$_" or not -d _ } $in, $in =~ m{(.*)/};
        for my $place (map "$in/$_", grep /$names/, entries("$from/$in")) {
            run("rm", "-rf", "--", "$to/$place");
            run(@copy, "-T", "--", "$from/$place", "$to/$place");
        }
        run("touch", "-r", "$from/$in", "--", "$to/$in");
    }
}

# Writes fuse-overlayfs's whiteouts as overlay2 reads them. The time of a directory stays.
sub convert {
    my ($was, @todo) = @_;
    while (defined(my $path = pop @todo)) {
        lstat $path or unreadable($path);
        next unless -d _ or -f _;
        my ($is_folder, @own) = (-d _, grep /^user\.fuseoverlayfs\./, attributes($path));
        my @names = $is_folder ? entries($path) : ();
        my @hidden = grep /^\Q$whiteout/, @names;
        my $is_opaque = grep $_ eq $opaque || $_ eq "user.fuseoverlayfs.opaque", @hidden, @own;
        for my $name (@own) {
            syscall($remove, "$path", "$name") == 0 or stop("$path: $!");
        }
        for (@hidden) {
            unlink "$path/$_" or stop("$path/$_: $!");
            my $hides = "$path/" . substr $_, length $whiteout;
            run("mknod", $hides, "c", 0, 0) unless $_ eq $opaque or lstat $hides;
        }
        if ($is_opaque) {
            my ($name, $value) = ("user.overlay.opaque", "y");
            syscall($set, "$path", $name, $value, 1, 0) == 0 or stop("$path: $!");
        }
        my $former = $was . substr $path, length $_[1];
        run("touch", "-r", $former, "--", $path) if @hidden;
        push @todo, map "$path/$_", grep !/^\Q$whiteout/, @names;
    }
}

sub carry {
    my ($from, $to) = ("$root/$old", "$kept/new/$new");
    mkdir $kept, 0700 and mkdir "$kept/new", 0700 or stop("$kept: $!");
    $has_begun = 1;
    my $layers = folder($from, $to);
    for my $id (grep !/^(backingFsBlockDev$|check-overlayfs-support)/, entries($from)) {
        if ($is_layer{$id}) {
            my $layer = folder("$from/$id", "$to/$id");
            run(@copy, "-l", "-t", "$to/$id", "--", "$from/$id/diff");
            unlink_counted("$from/$id/diff", "$to/$id/diff") if $new eq "overlay2";
            copy("$to/$id", map "$from/$id/$_", grep $_ ne "diff", entries("$from/$id"));
            $layer->();
        } else {
            copy($to, "$from/$id");
        }
        convert("$from/$id/diff", "$to/$id/diff") if $new eq "overlay2" and -d "$to/$id/diff";
    }
    $layers->();
    copy("$kept/new", map "$root/$_", $image, @copied);
    for my $path (settings("$kept/new/containers")) {
        my $text = content($path);
        my ($name, $at) = driver($text);
        next unless $name eq $old;
        my @times = (stat $path)[8, 9];
        substr $text, $at, length $name, $new;
        open my $file, ">", $path or stop("$path: $!");
        (print $file $text and close $file and utime @times, $path) or stop("$path: $!");
    }
    run("sync", "-f", $root);
    stop("Docker was started") if system("systemctl", "is-active", "-q", "docker") == 0;
    mkdir "$kept/former", 0700 or stop("$kept: $!");
    my @moves = map { (["$root/$_", "$kept/former/$_"], ["$kept/new/$_", "$root/$_"]) } @copied;
    for (["$kept/new/$old", "$root/image/$new"], [$to, "$root/$new"], @moves) {
        rename $_->[0], $_->[1] or stop("$_->[1]: $!");
    }
    rmdir "$kept/new" or stop("$kept: $!");
    run("sync", "-f", $root);
}

look();
stop("there is nothing to carry over") if $verb eq "carry" and not($images or $containers);
carry() if $verb eq "carry";
print "$images $containers $bytes\n" if $images or $containers;
