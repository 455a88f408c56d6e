"""What the read-only scenarios ask, as tests of testinfra. CTID in the environment is its ctid.

Run by bench, or by hand: ``pytest --hosts=paramiko://node --ssh-config=FILE test_state.py``.
"""

from __future__ import annotations

import os

PROFILE, REPOSITORY = "lxc-phoenix-v2", "/usr/local/phoenix_hypervisor"
DEPLOYED, TUNABLE = f"/etc/apparmor.d/{PROFILE}", "/etc/apparmor.d/tunables/nesting"
CTID = os.environ.get("CTID", "950")
POLICIES = "/sys/kernel/security/apparmor/policy/profiles"


def inside(host, command):
    return host.run(f"pct exec {CTID} -- {command}")


def pid(host):
    return host.check_output(f"lxc-info -P /var/lib/lxc -n {CTID} -p -H").strip()


def test_tunable(host):
    assert host.file(TUNABLE).contains(PROFILE)


def test_profile_has_rules(host):
    text = host.file(DEPLOYED).content_string
    assert "fuse-overlayfs" in text
    assert "/dev/fuse rw," in text


def test_profile_is_the_repositorys(host):
    source = host.file(f"{REPOSITORY}/etc/apparmor/{PROFILE}")
    assert source.sha256sum == host.file(DEPLOYED).sha256sum


def test_policy_is_the_files(host):
    loaded = host.check_output(f"cat {POLICIES}/{PROFILE}.*/raw_sha256")
    compiled = host.check_output(f"apparmor_parser -S -K {DEPLOYED} | sha256sum")
    assert loaded.split()[0] == compiled.split()[0]


def test_profile_is_enforced(host):
    profiles = host.file("/sys/kernel/security/apparmor/profiles").content_string
    assert f"{PROFILE} (enforce)" in profiles


def test_profile_has_one_name(host):
    assert host.check_output(f"apparmor_parser -N -K {DEPLOYED}").split() == [PROFILE]


def test_apparmor_starts_at_boot(host):
    assert host.service("apparmor").is_enabled


def test_apparmor_was_loaded_after_the_tunable(host):
    assert host.file(TUNABLE).mtime
    assert host.check_output("journalctl -u apparmor -b -q --no-pager")


def test_container_runs(host):
    assert "running" in host.check_output(f"pct status {CTID}")


def test_configuration_has_features_and_profile(host):
    written = host.file(f"/etc/pve/lxc/{CTID}.conf").content_string
    assert "fuse=1" in written
    assert f"lxc.apparmor.profile: {PROFILE}" in written
    assert PROFILE in host.file(f"/var/lib/lxc/{CTID}/config").content_string


def test_first_process_is_confined(host):
    assert host.file(f"/proc/{pid(host)}/attr/current").content_string.startswith(PROFILE)


def test_root_is_mapped(host):
    for name in ("uid_map", "gid_map"):
        first = host.file(f"/proc/{pid(host)}/{name}").content_string.split()
        assert first[1] != "0"


def test_setup_script(host):
    path = f"{REPOSITORY}/bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh"
    assert "tunables/nesting" in host.file(path).content_string
    assert host.run(f"bash -n {path}").rc == 0


def test_install_script(host):
    path = f"{REPOSITORY}/bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh"
    assert "fuse-overlayfs" in host.file(path).content_string
    assert host.run(f"bash -n {path}").rc == 0


def test_node_lacks_fuse_overlayfs(host):
    assert not host.package("fuse-overlayfs").is_installed


def test_guest_has_booted(host):
    assert inside(host, "systemctl is-system-running --wait").stdout.strip() in {
        "running",
        "degraded",
    }
    assert inside(host, "systemctl list-units --state=failed --full --plain --no-legend").rc == 0


def test_packages(host):
    assert inside(host, "dpkg-query -W fuse-overlayfs").rc == 0
    assert inside(host, "dpkg-query -W docker.io").rc == 0


def test_settings(host):
    assert '"fuse-overlayfs"' in inside(host, "cat /etc/docker/daemon.json").stdout


def test_docker_runs_and_starts_at_boot(host):
    assert inside(host, "systemctl is-active docker").stdout.strip() == "active"
    assert inside(host, "systemctl is-enabled docker").stdout.strip() == "enabled"


def test_docker_has_its_driver(host):
    assert inside(host, "docker info -f '{{.Driver}}'").stdout.strip() == "fuse-overlayfs"


def test_fuse_can_be_opened(host):
    assert inside(host, "sh -c 'exec 3<>/dev/fuse'").rc == 0


def test_keyrings_can_be_made(host):
    assert inside(host, "perl -e 'exit(syscall(250, 0, -1, 1) < 0)'").rc == 0
