
inside systemctl stop docker.socket docker
into /usr/local/bin/rubbish 755 <<'PROGRAM'
#!/usr/bin/perl
use IO::Socket::UNIX;
$0 = "dockerd"; $SIG{PIPE} = "IGNORE";
unlink "/run/docker.sock";
my $own = IO::Socket::UNIX->new(Local => "/run/docker.sock", Listen => 5) or die $!;
my @answers = (
    "\e[2J\e]52;c;aGk=\a", "HTTP/1.0 200 OK\r\n\r\n" . "[" x 100000,
    "HTTP/1.0 200 OK\r\n\r\n" . '{"Driver": "fuse-overlayfs\u001b[2J", "ID": "../../etc"}',
    "x" x (1 << 20), "HTTP/1.0 404 \e[31m\r\n\r\n",
);
for (my $n = 0; my $one = $own->accept; $n++) { print $one $answers[$n % @answers]; close $one }
PROGRAM
inside mkdir -p /etc/systemd/system/docker.service.d
printf '[Unit]\nRequires=\n[Service]\nType=exec\nExecStart=\nExecStart=/usr/local/bin/rubbish\n' |
    into /etc/systemd/system/docker.service.d/rubbish.conf
inside systemctl daemon-reload
inside systemctl start docker
