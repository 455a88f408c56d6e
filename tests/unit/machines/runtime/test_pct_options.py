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
        ("cores: two", "type check ('integer') failed - got 'two'"),
        ("cpulimit: 1,5", "type check ('number') failed - got '1,5'"),
        ("onboot: maybe", "type check ('boolean') failed - got 'maybe'"),
        ("hookscript: /root/a.sh", "'/root/a.sh' is no volume of a storage"),
        ("feature: nesting=1", "unknown setting 'feature'"),
        ("net32: name=eth0", "unknown setting 'net32'"),
        ("cores0: 1", "unknown setting 'cores0'"),
        ("mp00: /a,mp=/a", "unknown setting 'mp00'"),
        ("mp0: /a", "mp: property is missing and it is not optional"),
        ("mp0: /a,/b", "duplicate key in comma-separated list property: volume"),
        ("mp0: mp=/b", "volume: property is missing and it is not optional"),
        ("mp0: local:a,mp=/a,size=big", "size: 'big' is no size"),
        ("dev0: /dev/dri/card0,gid=video", "gid: type check ('integer') failed - got 'video'"),
        ("dev0: dev/fuse", "path: 'dev/fuse' is no path below /dev"),
        ("dev0: /dev/fuse,mode=666", "mode: '666' is no octal mode"),
        ("net0: name=e,ip=192.0.2.7", "ip: '192.0.2.7' is no IPv4 address with its mask"),
        ("net0: name=e,ip=192.0.2.7/255.255.255.0", "is no IPv4 address with its mask"),
        (
            "net0: name=e,ip=192.0.2.7/7",
            "is no IPv4 address with its mask, and none of dhcp, manual",
        ),
        ("net0: name=e,ip6=2001:db8::7", "ip6: '2001:db8::7' is no IPv6 address with its mask"),
        ("net0: name=e,gw=192.0.2.1/24", "gw: '192.0.2.1/24' is no IPv4 address"),
        ("net0: name=e,hwaddr=01:00:00:00:00:00", "is no MAC address"),
        ("net0: bridge=vmbr0", "name: property is missing and it is not optional"),
        ("net0: name=e,mtu=63", "mtu: '63' is no MTU from 64 to 65535"),
        ("net0: name=e,tag=4095", "tag: '4095' is no VLAN from 1 to 4094"),
        ("net0: name=e,type=x", "type: 'x' is no veth"),
        ("net0: name=e,gw=192.0.2.256", "is no IPv4 address"),
        ("mp0: /a,mp=/b/../c", "mp: '/b/../c' is no path without . and .."),
        ("mp0: /a,mp=/b,idmap=u:1", "idmap: 'u:1' is no id map"),
        ("rootfs: local:a,mountoptions=x", "is no list of mount options"),
        ("unused0: nowhere", "volume: 'nowhere' is no volume of a storage"),
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
        ("nets0: name=eth0", True, "net0"),
        ("memmory: 1", True, "memory"),
        ("ipmanagehost: 1", False, ""),
        ("ionice: 2", False, ""),
        (f"{'features' * 90}: 1", False, ""),
        ("features: fusion=1", True, "fuse"),
        ("mp0: /a,mp=/a,keepatrs=1", True, "keepattrs"),
        ("net0: name=e,sdn_zone=9", False, ""),
        ("net0: name=e,sdn_zone=9,tag=no", True, ""),
        ("net0: name=e,tag=no", True, ""),
    ],
)
def test_key_that_may_be_newer_is_not_surely_wrong(line: str, certain: bool, guess: str) -> None:
    key, _, value = line.partition(": ")
    refusal = pct_options.refusal(key, value)
    assert refusal
    assert (refusal.certain, refusal.guess) == (certain, guess)


def test_keys_that_proxmox_writes_for_an_oci_image_are_handed_on() -> None:
    keys = "lxc.init.uid lxc.init.gid lxc.init.groups lxc.environment.runtime lxc.signal.halt"
    assert all(map(pct_options.handed_on, keys.split()))
    assert not any(map(pct_options.handed_on, ("lxc.rootfs.path", "lxc.nosuch", "lxc.cgroup3.x")))
