"""The ten problems of Docker in LXC, each made on the lab, and what doctor must say first.

A row's script runs on the node after the prelude of faults, on a container that is compliant. Where
a fault of the catalogue breaks the same thing, its script is used. Not on the lab: a container that
was given a graphics card that works (``bpf_prog_query``, and a driver that differs from its
libraries), because that needs the card and NVIDIA's programs; and ``docker-default-not-loaded``,
because the lab's containers do not see /sys/kernel/security, so dockerd tries to load no profile,
even with a parser.
"""

from dataclasses import dataclass

from proof.faults.catalogue import BY_ID
from proof.faults.snapshots import WITHOUT_BACKUPS
from tests.doubles.samples import sample


@dataclass(frozen=True)
class Row:
    """One problem.

    Attributes:
        number: its place among the ten most frequent ones.
        id: how doctor calls it.
        inject: shell that makes it.
        words: what its line must contain.
        advice: whether it is advice, after the line that says that no problem is named.
        beside: ids of the advice that may change with it, because it is about the same thing.
        release: the Debian release of the container's template, if not the default.
        start: the state that it starts from.
    """

    number: int
    id: str
    inject: str
    words: tuple[str, ...]
    advice: bool = False
    beside: tuple[str, ...] = ()
    release: str = ""
    start: str = WITHOUT_BACKUPS


def _fault(name: str) -> str:
    """Return the script of a fault of the catalogue."""
    return BY_ID[name].inject


#: Runs an image that is there, and keeps the container, which does not start.
_RUN = "inside docker run --pull never {} hello-world || true"
_RESTART_DOCKER = "inside systemctl restart docker"
#: Docker's rules use xt_addrtype. Without them it can be unloaded, and then nothing loads it again.
_NO_ADDRTYPE = sample("programs/lab/no_addrtype.sh")
_GPU = sample("programs/lab/gpu.sh")
_DATA = sample("programs/lab/data.sh")

#: Of each problem, the row that takes the least time comes first: CI runs that of every fourth one.
ROWS = (
    Row(
        1,
        "storage-driver",
        _fault("F30"),
        ("Docker runs on vfs, which copies every layer whole", "/var/lib/docker is on"),
        advice=True,
        beside=("images-of-another-driver",),
    ),
    Row(
        2,  # with a runc of the next Debian, of which other units may fail under this profile
        "runc-reopen-refused",
        f"{_fault('F37')}\ninside docker run hello-world || true; inside systemctl reset-failed",
        ("runc 1.", "under lxc-phoenix-v2"),
        beside=("storage-driver",),  # its profile would let native overlay through
        release="testing",
    ),
    Row(3, "id-map-hole", _fault("F08-hole"), ("the user id 1000 is not mapped",)),
    Row(
        4,
        "gpu-runtime-missing",
        _RUN.format("--gpus all"),
        ("could not select device driver", "[[gpu]]"),
    ),
    Row(4, "gpu-of-nobody", _GPU, ("/dev/dri/renderD190 belongs to 65534:65534", "660")),
    Row(
        5,
        "container-runs-unconfined",
        _fault("F13"),
        ("first process runs unconfined",),
        beside=("storage-driver", "docker-confinement"),  # both name the profile
    ),
    Row(6, "ip-forward-off", "inside sysctl -qw net.ipv4.ip_forward=0", ("ip_forward is 0",)),
    Row(
        6,
        "route-localnet-off",
        'inside sed -i \'1s/{/{"userland-proxy": false,/\' "$settings"; '
        f"{_RESTART_DOCKER}; inside sysctl -qw net.ipv4.conf.docker0.route_localnet=0",
        ("userland-proxy is off, and route_localnet of docker0 is 0",),
    ),
    Row(
        6,
        "kernel-module-missing",
        _NO_ADDRTYPE,
        ("the node has not loaded xt_addrtype", "Docker says:"),
    ),
    Row(
        6,
        "tun-missing",
        "inside docker create --name vpn --device /dev/net/tun hello-world",
        ("the Docker container vpn is given /dev/net/tun",),
    ),
    Row(
        7,
        "containerd-image-store",
        _fault("F35"),
        ("keeps its images in containerd's store",),
        advice=True,
        beside=("images-of-another-driver",),
    ),
    Row(8, "container-frozen", 'lxc-freeze -n "$ctid"', ("is FROZEN",)),
    Row(
        8,
        "backup-may-hang",
        "inside docker run -d --pull never hello-world /hello wait",
        ("1 fuse mount, such as /var/lib/docker/fuse-overlayfs/",),
        advice=True,
    ),
    Row(
        9,
        "bind-mount-of-nobody",
        _DATA,
        ("/data in the container is /srv/data on the node, of user 1000 and group 1000",),
    ),
    Row(10, "nesting-off", _fault("F03"), ("has no nesting=1 in features",)),
    Row(10, "units-refused", _fault("F17"), (" failed: ",)),
)


def one_each() -> tuple[Row, ...]:
    """Return the first row of each problem that the lab's usual template can have."""
    usual = [row for row in ROWS if not row.release]
    first = {row.number: row for row in reversed(usual)}
    return tuple(row for row in usual if row is first[row.number])
