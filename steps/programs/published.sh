# Reaches, with the client's program $2, the port that the Docker container $1 is published at.

port=$(docker port "$1" 8080 | sed -n '1s/.*://p')
own=$(hostname -I)
exec perl -e "$2" "${own%% *}" "$port"
