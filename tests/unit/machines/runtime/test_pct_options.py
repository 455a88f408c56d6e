"""The keys that Proxmox knows, and how it reads their values."""

import pytest

from docker_lxc_gate.formats import pct_options

_UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
_BLANK = "Proxmox takes a blank for a part of the name or value"
_MAC = "hwaddr=BC:24:11:37:F6:C8"


@pytest.mark.parametrize(
    "line",
    [
        "features: ,",
        "features: nesting=Yes,,keyctl=off,force_rw_sys=FALSE,mknod=on,mount=nfs;cifs,fuse=0",
        *("onboot: On", "cores: 007", "cpulimit: 1.5", "memory: 8", "hostname: a_b"),
        *("hookscript: local:snippets/a.sh", "unused7: local:950/vm-950-disk-1.raw"),
        f"net31: name=eth0,bridge=vmbr0,firewall=1,gw=192.0.2.1,{_MAC},ip=192.0.2.7/24,type=veth",
        "net0: name=e,ip=dhcp,ip6=auto,mtu=9000,rate=2.5,tag=5,trunks=5;7,host-managed=1",
        "net0: name=e,ip=manual,ip6=2001:db8::7/64,gw6=2001:db8::1",
        *("mp0: /srv,mp=/srv,ro=1,shared=1", "mp255: local:950/a.raw,mp=/a,backup=1,size=8G"),
        "mp0: volume=tank:subvol-1,mp=/a,acl=1,keepattrs=1,idmap=u:0:1:2;g:0:1:2",
        "rootfs: local-zfs:subvol-950-disk-0,size=1.5TiB,quota=0",
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
        ("features: mount=/dev", "format error: mount: '/dev' is no list of file systems"),
        ("features: nesting", "value without key, but schema does not define a default key"),
        ("features: nesting=", "missing key in comma-separated list property"),
        ("features: fuse=1,fuse=1", "duplicate key in comma-separated list property: fuse"),
        ("features: fuse =1", f"format error: fuse : {_UNKNOWN}; {_BLANK}"),
        ("features: fuse=1, nesting=1", f"format error:  nesting: {_UNKNOWN}; {_BLANK}"),
        ("features: fuse=1, fusion=1", f"format error:  fusion: {_UNKNOWN}"),
        ("cpulimit: 1,5", "type check ('number') failed - got '1,5'"),
        ("hookscript: /root/a.sh", "'/root/a.sh' is no volume of a storage"),
        ("net32: name=eth0", "unknown setting 'net32'"),
        ("mp00: /a,mp=/a", "unknown setting 'mp00'"),
        ("mp0: /a", "mp: property is missing and it is not optional"),
        ("mp0: /a,/b", "duplicate key in comma-separated list property: volume"),
        ("dev0: /dev/fuse,mode=666", "mode: '666' is no octal mode"),
        (
            "net0: name=e,ip=192.0.2.7/7",
            "is no IPv4 address with its mask, and none of dhcp, manual",
        ),
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
        ("nets0: name=eth0", True, "net0"),
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
