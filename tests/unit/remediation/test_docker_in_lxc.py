"""The plan: which steps it has, of a container in which state."""

from docker_lxc_gate.errors import Elsewhere
from docker_lxc_gate.machines.runtime.pct import Pct
from remediation import docker_in_lxc as it
from remediation import phoenix
from tests.doubles.canned import Machine
from tests.doubles.naming import naming
from tests.doubles.scripted import Scripted
from tests.unit.facts.test_apparmor import PROFILES

SEEN = (
    *("find", "/etc/pve/lxc/950.conf", "-exec"),
    *("lxc-info", "-P", "/var/lib/lxc", "-n", "950", "-s", "-H", ";"),
)


def test_plan_of_a_moved_container_is_refused_unless_of_the_node() -> None:
    absent = (2, b"", b"Configuration file 'nodes/pve1/lxc/950.conf' does not exist\n")
    there = (0, b"/etc/pve/nodes/pve2/lxc/950.conf\n", b"")
    node = Scripted(
        {
            SEEN: (1, b"", b"No such file or directory"),
            ("pct", "status", "950"): absent,
            ("find", "/etc/pve/nodes", "-path", "*/lxc/950.conf"): there,
            ("test", "-d", phoenix.REPOSITORY): (0, b"", b""),
        }
    )
    with naming(Elsewhere, "container 950", "scripted", "pve2") as raised:
        it.plan(Pct(node), 950, tell=lambda _: None)
    assert (raised.value.node, raised.value.exit_code) == ("pve2", 3)
    plan = it.plan(Pct(node), 950, tell=lambda _: None, of_node=True)
    assert {step.on for step in plan.steps} == {node}
    assert "container-options" not in {step.action.id for step in plan.steps}
    assert (plan.deferred, plan.whole) == ([], False)


def test_plan_of_a_container_that_cannot_start_does_not_say_to_start_it() -> None:
    for text, mode, said in (
        ("lxc.apparmor.profile: lxc-other\n", 755, "cannot start: the kernel does not know its"),
        ("arch: amd64\n", 555, "cannot start: this node's cluster has no quorum"),
        ("arch: amd64\n", 755, "nothing inside it was checked (pct start 950)"),
    ):
        files = {"/etc/pve/lxc/950.conf": text, PROFILES: "lxc-phoenix-v2 (enforce)\n"}
        seen = "find /etc/pve/lxc/950.conf -exec lxc-info -P /var/lib/lxc -n 950 -s -H ';'"
        answers = {seen: "STOPPED\n", "sh control": f"{mode}\n"}
        node = Machine(files, {**answers, f"test -d {phoenix.REPOSITORY}": ""})
        (why,) = it.plan(Pct(node), 950, tell=lambda _: None).not_checked
        assert said in why
