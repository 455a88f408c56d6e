"""The keys that Proxmox knows, and how it reads their values."""

import pytest

from docker_lxc_gate.formats import pct_options

_UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
_BLANK = "Proxmox takes a blank for a part of the name or value"
_MAC = "hwaddr=BC:24:11:37:F6:C8"


@pytest.mark.parametrize(
    "line",
    [
        *("features: ,", "features: nesting=1,keyctl=1,fuse=1", "features: mount=nfs;cifs,fuse=0"),
        "features: nesting=Yes,,keyctl=off,force_rw_sys=FALSE,mknod=on",
        *(
            "onboot: On",
            "cores: 007",
            "cpulimit: 1.5",
            "memory: 8",
            "cmode: theirs",
            "tags: a;B_c d",
        ),
        *("hostname: a-1.example", "startup: order=1,up=2,down=3", "startup: 7", "lock: mounted"),
        "nameserver: 192.0.2.1 2001:db8::1;fe80::1%eth0",
        f"net31: name=eth0,bridge=vmbr0,firewall=1,gw=192.0.2.1,{_MAC},ip=192.0.2.7/24,type=veth",
        "net0: name=e,ip=dhcp,ip6=auto,mtu=9000,rate=2.5,tag=5,trunks=5;7",
        *("mp0: /srv,mp=/srv,ro=1,shared=1", "mp255: local:950/a.raw,mp=/a,backup=1,size=8G"),
        "mp0: volume=tank:subvol-1,mp=/a,acl=1,keepattrs=1,idmap=u:0:1:2;g:0:1:2",
        "mp1: local:b,mp=/b,mountoptions=noatime;nodev",
        *(
            "rootfs: local-zfs:subvol-950-disk-0,size=1.5TiB,quota=0",
            "rootfs: /srv/root,replicate=0",
        ),
        *("dev0: /dev/dri/renderD128,gid=104,mode=0660", "dev255: path=/dev/net/tun,deny-write=1"),
    ],
)
def test_value_that_proxmox_reads_is_refused_by_nobody(line: str) -> None:
    key, _, value = line.partition(": ")
    assert pct_options.refusal(key, value) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("features: nesting=1,fusion=1", f"format error: fusion: {_UNKNOWN}"),
        (
            "features: fuse=2,a=1",
            f"format error: a: {_UNKNOWN}; fuse: type check ('boolean') failed - got '2'",
        ),
        ("features: nesting", "value without key, but schema does not define a default key"),
        ("features: fuse=1,fuse=1", "duplicate key in comma-separated list property: fuse"),
        ("features: fuse=1, nesting=1", f"format error:  nesting: {_UNKNOWN}; {_BLANK}"),
        ("cores: two", "type check ('integer') failed - got 'two'"),
        ("cpulimit: 1,5", "type check ('number') failed - got '1,5'"),
        ("onboot: maybe", "type check ('boolean') failed - got 'maybe'"),
        ("nameserver: dns.example", "'dns.example' is no address"),
        ("feature: nesting=1", "unknown setting 'feature'"),
        ("net32: name=eth0", "unknown setting 'net32'"),
        ("mp0: /a", "mp: property is missing and it is not optional"),
        ("mp0: /a,mp=/b/../c", "mp: '/b/../c' is no path"),
        ("dev0: dev/fuse", "path: 'dev/fuse' is no path below /dev"),
        ("net0: name=e,ip=192.0.2.7", "ip: '192.0.2.7' is no IPv4 address with its mask"),
        ("net0: name=e,hwaddr=01:00:00:00:00:00", "is no MAC address"),
        ("net0: name=e,tag=4095", "tag: value must have a maximum value of 4094"),
        ("net0: name=e,type=phys", "type: value 'phys' does not have a value in the enumeration"),
    ],
)
def test_value_that_proxmox_cannot_read_is_refused_in_its_words(line: str, words: str) -> None:
    key, _, value = line.partition(": ")
    refusal = pct_options.refusal(key, value)
    assert refusal
    assert refusal.words.startswith(f"unable to parse value of '{key}' - ")
    assert words in refusal.words


@pytest.mark.parametrize(
    ("line", "certain", "guess"),
    [
        ("feature: nesting=1", True, "features"),
        ("memmory: 1", True, "memory"),
        ("ipmanagehost: 1", False, ""),
        (f"{'features' * 90}: 1", False, ""),
        ("features: fusion=1", True, "fuse"),
        ("mp0: /a,mp=/a,keepatrs=1", True, "keepattrs"),
        ("net0: name=e,sdn_zone=9", False, ""),
        ("net0: name=e,sdn_zone=9,tag=no", True, ""),
    ],
)
def test_key_that_may_be_newer_is_not_surely_wrong(line: str, certain: bool, guess: str) -> None:
    key, _, value = line.partition(": ")
    refusal = pct_options.refusal(key, value)
    assert refusal
    assert (refusal.certain, refusal.guess) == (certain, guess)


@pytest.mark.parametrize(
    ("line", "limit"),
    [
        ("tty: 7", "maximum value of 6"),
        ("cmode: vnc", "enumeration 'shell, console, tty'"),
        ("cores: 2", ""),
        ("theirs: 1", ""),
    ],
)
def test_value_beyond_a_limit_is_read_and_not_set(line: str, limit: str) -> None:
    key, _, value = line.partition(": ")
    said = pct_options.beyond(key, value)
    assert limit in said
    assert bool(said) == bool(limit)
