# after steps/programs/reach.pl
# Reaches the server $ARGV[0] at port $ARGV[1], and then the addresses after it.

my ($server, $port, @outside) = @ARGV;
print "server ", reach_soon($server, $port, 1), "\n";
print "outside $_ ", reach($_, 53), "\n" for @outside;
