# Starts a server on the node that answers like a healthy dockerd.

cat >/run/nodes-own.py <<'PROGRAM'
import json, socket
image = "sha256:" + 64 * "0"
state = {"Status": "exited", "ExitCode": 0, "Error": ""}
said = {"Id": 64 * "0", "Image": image, "State": state, "RepoDigests": ["hello-world@" + image]}
own = socket.socket(socket.AF_UNIX)
own.bind("/run/nodes-own.sock")
own.listen()
while True:
    connection, _ = own.accept()
    open("/run/nodes-own.touched", "w").close()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(said).encode())
    connection.close()
PROGRAM
systemd-run -q --unit=nodes-own python3 /run/nodes-own.py
