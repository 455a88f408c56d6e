"""Healthy files have no finding: generated configurations, and the files that this project ships.

``EXAMPLES=2000`` tries so many generated configurations instead of a hundred.
"""

import os
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.formats import pct_options
from docker_lxc_gate.lab.guest.pct.config import Config, Section, network, serialise
from docker_lxc_gate.lint import discover
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import Kind, Source
from docker_lxc_gate.lint.rules.parser import Parser
from docker_lxc_gate.machines.transport import Local
from remediation import desired, phoenix
from remediation.edits.container_config import with_options
from tests.doubles.examples import examples
from tests.doubles.nodes import proxmox_snapshots
from tests.doubles.samples import ROOT

EXAMPLES = int(os.environ.get("EXAMPLES", "100"))

_words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-./", min_size=1, max_size=12)
_numbers = st.integers(16, 8192).map(str)
_mac = "BC:24:11:37:F6:C8"
_values = {
    "boolean": st.sampled_from(["0", "1"]),
    "integer": _numbers,
    "number": st.sampled_from(["1", "0.5", "2.25"]),
    "": _words,
    "volume of a storage": st.just("local:snippets/hook.sh"),
}
_volumes = st.builds(
    lambda name, size, more: f"local-lvm:vm-{name}-disk-0,size={size}G{more}",
    st.integers(100, 999),
    st.integers(1, 99),
    st.sampled_from(["", ",acl=1", ",mountoptions=noatime", ",replicate=0", ",quota=1"]),
)
_mounts = st.sampled_from(["fuse", "overlay;fuse", "tmpfs"])
_features = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from(["0", "1"]) if value.form == "boolean" else _mounts
        for name, value in pct_options._TABLE.property["features"].items()
    },
).map(lambda given: ",".join(f"{name}={value}" for name, value in given.items()))
_networks = st.builds(
    lambda *parts: network("name=eth0,bridge=" + "".join(parts), _mac),
    st.sampled_from(["vmbr0", "lxcbr0"]),
    st.sampled_from(["", ",ip=dhcp", ",ip=10.0.0.2/24,gw=10.0.0.1", ",ip=manual"]),
    st.sampled_from(["", ",ip6=auto", ",ip6=dhcp", ",ip6=fd00::2/64,gw6=fd00::1"]),
    st.sampled_from(["", ",mtu=1450", ",mtu=9000,rate=12.5"]),
    st.sampled_from(["", ",firewall=1,tag=5", ",link_down=1,trunks=2;35"]),
)
#: What is passed through, as pct and the web interface write it.
_devices = st.sampled_from(
    (
        "/dev/dri/renderD128,gid=104",
        "/dev/dri/card0,gid=44,mode=0660",
        "path=/dev/net/tun",
        "/dev/ttyUSB0,deny-write=1,gid=20,uid=1000",
    )
)
_binds = st.sampled_from(("/srv/data", "/mnt/pve/nfs/media,ro=1", "/tank/backup,backup=0,shared=1"))
#: Lines that people add by hand, each healthy; one gives what a devN line may give, too.
_DRI = ("lxc.mount.entry", "/dev/dri dev/dri none bind,optional,create=dir")
_RAW = (
    ("lxc.mount.entry", "/dev/fuse dev/fuse none bind,create=file 0 0"),
    _DRI,
    ("lxc.mount.entry", "/srv/with\\040blank srv none bind 0 0"),
    ("lxc.cgroup2.devices.deny", "c 226:128 rwm"),
    ("lxc.cgroup2.memory.high", "512M"),
    ("lxc.environment", "TZ=Europe/Berlin"),
    ("lxc.hook.pre-start", "sh -c 'test -e /dev/fuse'"),
    ("lxc.mount.auto", "cgroup:rw:force"),
    ("lxc.net.0.veth.pair", "veth950"),
    ("lxc.prlimit.nofile", "65536"),
    ("lxc.cap.drop", "sys_rawio"),
    ("lxc.include", "/usr/share/lxc/config/common.conf"),
    ("lxc.init.cmd", "/sbin/init"),
    ("lxc.sysctl.kernel.msgmax", "8192"),
)
_MAPS = (
    (),
    (("lxc.idmap", "u 0 100000 65536"), ("lxc.idmap", "g 0 100000 65536")),
    (
        ("lxc.idmap", "u 0 100000 65536"),
        ("lxc.idmap", "g 0 100000 44"),
        ("lxc.idmap", "g 44 44 1"),
        ("lxc.idmap", "g 45 100045 65491"),
    ),
    (("lxc.idmap", "u 0 100000 1000000"), ("lxc.idmap", "g 0 100000 1000000")),
)
_PROFILES = ((), (("lxc.apparmor.profile", "lxc-phoenix-v2"),))


@st.composite
def sections(draw: st.DrawFn) -> Section:
    """A section with any of the keys that pct knows, and raw lines of people's own."""
    apart = {"delete", "description", "env", "unprivileged", "snaptime", "snapstate", "parent"}
    known = {
        name: option.form
        for name, option in pct_options._TABLE.option.items()
        if name not in apart and not option.properties
    }
    names = draw(st.lists(st.sampled_from(sorted(known)), max_size=8, unique=True))
    keys = {name: draw(_values[known[name]]) for name in names}
    keys |= {"rootfs": draw(_volumes), "unprivileged": "1", "arch": "amd64", "ostype": "debian"}
    if features := draw(_features):
        keys["features"] = features
    for index in range(draw(st.integers(0, 3))):
        keys[f"net{index}"] = draw(_networks)
        keys[f"mp{index}"] = f"{draw(_volumes)},mp=/srv/{index}"
    for index, device in enumerate(draw(st.lists(_devices, max_size=2, unique=True))):
        keys[f"dev{index}"] = device
        keys[f"unused{index}"] = f"local-lvm:vm-950-disk-{index + 4}"
        keys[f"mp{index + 10}"] = f"{draw(_binds)},mp=/bound/{index}"
    raw = draw(st.lists(st.sampled_from(_RAW), max_size=6, unique=True))
    raw = [each for each in raw if each != _DRI or not any("/dri/" in v for v in keys.values())]
    about = draw(st.text(st.characters(codec="utf-8"), max_size=40))
    raw += [*draw(st.sampled_from(_MAPS)), *draw(st.sampled_from(_PROFILES))]
    return Section(keys, tuple(raw), about and f"{about}\n")


@st.composite
def configurations(draw: st.DrawFn) -> str:
    """A whole file, as pct writes it: with changes that wait, and with snapshots."""
    config = Config(draw(sections()))
    for name in draw(st.lists(st.sampled_from(["before", "Old", "a_b-1"]), max_size=2)):
        about = draw(st.sampled_from(["", "# before\n", "lxc.apparmor.profile: x\n"]))
        config = proxmox_snapshots.taken(config, name, 1_795_532_651, about)
        config = replace(config, current=config.current.with_keys(memory=draw(_numbers)))
    if draw(st.booleans()):
        pending = {"memory": draw(_numbers), **draw(st.sampled_from(({}, {"delete": "swap"})))}
        config = replace(config, pending=Section(pending))
    return serialise(config)


@examples(EXAMPLES)
@given(configurations())
def test_configuration_that_pct_wrote_has_no_finding(text: str) -> None:
    source = Source("/etc/pve/lxc/950.conf", text.encode(), Kind.CONTAINER)
    assert [(each.id, each.line, each.cause) for each in check([source])] == []


@examples(EXAMPLES // 10)
@given(configurations())
def test_configuration_that_the_plan_changed_has_no_finding(text: str) -> None:
    changed = with_options(text, desired.FEATURES, {"lxc.apparmor.profile": desired.PROFILE})
    source = Source("/etc/pve/lxc/950.conf", changed.encode(), Kind.CONTAINER)
    profile = Source("/etc/apparmor.d/lxc-phoenix-v2", desired.profile(), Kind.PROFILE)
    assert [(each.id, each.line, each.cause) for each in check([source, profile])] == []


def test_profile_of_this_project_has_no_finding() -> None:
    found = discover.under(ROOT / "remediation/content/lxc-phoenix-v2")
    assert check(found.sources, Parser(Local())) == []


def test_profile_of_phoenix_has_no_finding_before_and_after_the_plan() -> None:
    path = ROOT / "docker_lxc_gate/lab/guest/phoenix_hypervisor" / phoenix.PROFILE
    (found,) = discover.under(path).sources
    told = check([found], Parser(Local()))
    # LXC's abstractions are not on every machine: the profile that includes them is not parsed.
    assert [each for each in told if each.id != "not-checked"] == []
    assert check([replace(found, content=desired.profile(found.content))], Parser(Local())) == []
