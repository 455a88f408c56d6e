"""Any testinfra suite reaches a container: by pct:// and lxc://, once the package is installed."""

import pytest
import testinfra
from testinfra.backend.lxc import LxcBackend

import docker_lxc_gate.testinfra  # noqa: F401 - an installed package is loaded by pytest
from docker_lxc_gate.machines.ssh import connection
from tests.doubles.naming import naming
from tests.doubles.nodes.healthy import Healthy


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Healthy:
    """The node that every connection reaches."""
    one = Healthy(name="pve1")
    one.says["sh -c 'uname -s'"] = "Linux\n"
    monkeypatch.setattr(connection, "Ssh", lambda *_, **__: one)
    return one


def test_host_is_the_container_of_a_node(node: Healthy) -> None:
    host = testinfra.get_host("pct://root@pve1/950")
    assert node.trips == []  # not before a test asks
    assert host.backend.get_pytest_id() == "pct://root@pve1/950"
    assert host.run("uname -%s", "s").stdout == "Linux\n"
    assert "lxc-attach -P /var/lib/lxc -n 950 " in node.trips[-1]
    assert "sudo" not in node.trips[-1]


def test_sudo_is_for_the_node_and_sudo_user_for_the_container(node: Healthy) -> None:
    testinfra.get_host("pct://pve1/950?sudo_user=www-data").run("id")
    assert node.trips[-1].endswith("'sudo -u www-data /bin/sh -c id'")
    with naming(pytest.fail.Exception, "sudo does not make"):  # the double has none
        testinfra.get_host("pct://pve1/950?sudo=true").run("id")


def test_lxc_without_a_container_is_still_testinfras_own() -> None:
    assert isinstance(testinfra.get_host("lxc://web").backend, LxcBackend)
    assert testinfra.get_host("lxc://pve1/950").backend.get_pytest_id() == "lxc://pve1/950"


@pytest.mark.parametrize("wrong", ["pct://pve1", "pct://pve1/web"])
def test_host_that_is_no_container_names_what_is_expected(wrong: str) -> None:
    with naming(pytest.fail.Exception, "CTID"):
        testinfra.get_host(wrong).run("true")
