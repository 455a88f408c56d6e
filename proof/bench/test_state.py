"""What the read-only scenarios ask of container 950 and its node, as tests of testinfra."""

from __future__ import annotations

import pytest

PROFILE, REPOSITORY = "lxc-phoenix-v2", "/usr/local/phoenix_hypervisor"
DEPLOYED, TUNABLE = f"/etc/apparmor.d/{PROFILE}", "/etc/apparmor.d/tunables/nesting"
KERNEL = "/sys/kernel/security/apparmor"
SCRIPTS = {
    "bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh": "tunables/nesting",
    "bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh": "fuse-overlayfs",
}


def inside(host, command):
    return host.run(f"pct exec 950 -- {command}")


def first_process(host, name):
    pid = host.check_output("lxc-info -P /var/lib/lxc -n 950 -p -H").strip()
    return host.file(f"/proc/{pid}/{name}").content_string


def test_profile_is_the_repositorys_and_has_rules(host):
    assert host.file(TUNABLE).contains(PROFILE)
    text = host.file(DEPLOYED).content_string
    assert "fuse-overlayfs" in text
    assert "/dev/fuse rw," in text
    source = host.file(f"{REPOSITORY}/etc/apparmor/{PROFILE}")
    assert source.sha256sum == host.file(DEPLOYED).sha256sum
    assert host.check_output(f"apparmor_parser -N -K {DEPLOYED}").split() == [PROFILE]


def test_policy_is_the_files_and_enforced(host):
    loaded = host.check_output(f"cat {KERNEL}/policy/profiles/{PROFILE}.*/raw_sha256")
    compiled = host.check_output(f"apparmor_parser -S -K {DEPLOYED} | sha256sum")
    assert loaded.split()[0] == compiled.split()[0]
    assert f"{PROFILE} (enforce)" in host.file(f"{KERNEL}/profiles").content_string


def test_apparmor_starts_at_boot_and_was_loaded(host):
    assert host.service("apparmor").is_enabled
    assert host.file(TUNABLE).mtime
    assert host.check_output("journalctl -u apparmor -b -q --no-pager")


def test_container_runs_with_its_features_and_profile(host):
    assert "running" in host.check_output("pct status 950")
    written = host.file("/etc/pve/lxc/950.conf").content_string
    assert "fuse=1" in written
    assert f"lxc.apparmor.profile: {PROFILE}" in written
    assert PROFILE in host.file("/var/lib/lxc/950/config").content_string


def test_first_process_is_confined_and_root_is_mapped(host):
    assert first_process(host, "attr/current").startswith(PROFILE)
    for name in ("uid_map", "gid_map"):
        assert first_process(host, name).split()[1] != "0"


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_edited_and_parses(host, name):
    assert SCRIPTS[name] in host.file(f"{REPOSITORY}/{name}").content_string
    assert host.run(f"bash -n {REPOSITORY}/{name}").rc == 0


def test_node_lacks_fuse_overlayfs(host):
    assert not host.package("fuse-overlayfs").is_installed


def test_guest_has_booted(host):
    state = inside(host, "systemctl is-system-running --wait").stdout.strip()
    assert state in {"running", "degraded"}
    assert inside(host, "systemctl list-units --state=failed --full --plain --no-legend").rc == 0


def test_docker_has_its_packages_and_driver_and_runs(host):
    assert inside(host, "dpkg-query -W fuse-overlayfs").rc == 0
    assert inside(host, "dpkg-query -W docker.io").rc == 0
    assert '"fuse-overlayfs"' in inside(host, "cat /etc/docker/daemon.json").stdout
    assert inside(host, "systemctl is-active docker").stdout.strip() == "active"
    assert inside(host, "systemctl is-enabled docker").stdout.strip() == "enabled"
    assert inside(host, "docker info -f '{{.Driver}}'").stdout.strip() == "fuse-overlayfs"


def test_fuse_can_be_opened_and_keyrings_made(host):
    assert inside(host, "sh -c 'exec 3<>/dev/fuse'").rc == 0
    assert inside(host, "perl -e 'exit(syscall(250, 0, -1, 1) < 0)'").rc == 0
