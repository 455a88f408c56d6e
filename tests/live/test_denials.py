"""The rules that ``denials`` suggests do what they say.

For each kind of rule, a program is denied something under a copy of the shipped profile. The rule
that is suggested is added, and the copy is loaded again: then exactly this denial is gone. The
records of every operation that the lab's kernel mediates, and their rules, which were tried in the
same way, are in ``tests/data/denials``.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.facts.audit import audit_records
from docker_lxc_gate.facts.audit.audit_files import STATUS
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.runtime.base import Runtime
from proof.faults.fault import CTID
from tests.doubles.put import put
from tests.live.cases import denial_rows
from tests.live.cases.denial_rows import ADVISED, FORBIDDEN, NAME, ON_THE_NODE, ROWS
from tests.live.running import TARGET, compliant, remediation

_PROFILE, _PROGRAMS = f"/etc/apparmor.d/{NAME}", f"/root/{NAME}.py"
_LOG = "/var/log/audit/audit.log"
_FEATURES = "/sys/kernel/security/apparmor/features"
#: Loads the profile, tries the programs, and shows what was recorded, to the last one's denial.
_TRY = f"""
cat >{_PROFILE} && apparmor_parser --replace --skip-cache {_PROFILE} || exit
from=$(stat -c %s {_LOG})
recorded() {{ tail -c "+$((from + 1))" {_LOG}; }}
python3 {_PROGRAMS} {NAME} "$@" || exit
for _ in $(seq 200); do
    ! recorded | grep -q 'comm="{FORBIDDEN}"' || break
    sleep 0.05
done
echo == records
recorded
"""
_PATIENCE = 120.0
_ENDED = re.compile(r"^(\S+) ([0-9]+) (-?[0-9]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Tried:
    """How programs ended, and what the log has of them."""

    errnos: dict[str, int]
    pids: dict[int, str]
    text: str

    @property
    def refused(self) -> set[str]:
        """The programs that failed."""
        return {name for name, errno in self.errnos.items() if errno}

    @property
    def recorded(self) -> dict[str, list[str]]:
        """The operations of each program that were denied."""
        found = audit_records.parse(self.text)
        for line in self.text.splitlines():
            if " error=-13 " in line:
                found += audit_records.records(line, STATUS)
        operations = defaultdict(list)
        for denial in found:
            if name := self.pids.get(int(denial.fields["pid"])):
                operations[name].append(denial.fields["operation"])
        return operations


@dataclass
class Proof:
    """The copy of the profile on the node, and where its programs run.

    Attributes:
        init: the container's first process; 0: on the node.
        first: what came of all programs under the copy as it is.
        told: what ``denials`` says of each of them.
        suggested: what ``denials --suggest`` prints for the copy.
    """

    runtime: Runtime
    init: int
    copy: str
    first: Tried = field(init=False)
    told: dict[str, Any] = field(init=False)
    suggested: list[str] = field(init=False)
    _round: int = 0

    def tried(self, text: str, programs: list[str]) -> Tried:
        """Return what comes of programs under a profile; the last of them is always denied.

        Of the same profile, a capability that was refused is not recorded again: each is another.
        """
        self._round += 1
        text = denial_rows.with_rules(text, [f"/mnt/round-{self.init}-{self._round} r,"])
        argv = ["sh", "-c", _TRY, "try", str(self.init), *programs, FORBIDDEN]
        told = self.runtime.node.run(argv, stdin=text.encode(), timeout=_PATIENCE).require()
        said, _, log = told.text.partition("== records\n")
        ended = _ENDED.findall(said)
        errnos = {name: int(errno) for name, _, errno in ended}
        assert set(errnos) == {*programs, FORBIDDEN}, said
        broken = [name for name, errno in errnos.items() if errno == 200 or errno < 0]
        assert not broken, f"{broken}: {told.stderr.decode()}"
        return Tried(errnos, {int(pid): name for name, pid, _ in ended}, log)

    def rule(self, program: str) -> str:
        """Return the rule that is suggested."""
        rule = self.told[program]["rule"]
        assert rule, self.told[program]
        return str(rule)

    def begin(self) -> None:
        """Try all programs, and ask what was denied."""
        programs = [each for each in (*ROWS, *ADVISED) if not (self.init and each in ON_THE_NODE)]
        since = self.runtime.node.run(["date", "-u", "+%F %T"]).require().text.strip()
        self.first = self.tried(self.copy, programs)
        self.suggested = of_profile(printed("--since", since, "--suggest"))
        told = denials("--since", since)
        by_pid = {int(each["fields"]["pid"]): each for each in told["denials"]}
        self.told = {name: by_pid[pid] for pid, name in self.first.pids.items() if pid in by_pid}


def printed(*words: str) -> str:
    done = remediation("denials", "--target", TARGET, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def denials(*words: str) -> Any:
    return json.loads(printed(*words, "--format", "json"))


def of_profile(suggested: str) -> list[str]:
    """Return what is suggested for the copy, comments included, as somebody would copy it."""
    _, _, ours = f"\n{suggested}".partition(f"\n# {NAME}\n")
    return re.split(r"^# (?!dangerous: |try first: |where: )", ours, flags=re.MULTILINE)[
        0
    ].splitlines()


@pytest.fixture(scope="module")
def runtime(lab: Lab) -> Iterator[Runtime]:
    with compliant(lab) as opened:
        yield opened


@pytest.fixture(scope="module")
def copy(runtime: Runtime) -> str:
    """The copy's text; what it needs is on the node."""
    node = runtime.node
    put(node, _PROGRAMS, (Path(__file__).parent / "cases/denied_programs.py").read_bytes())
    node.run(["sh", "-c", f"aa-features-abi --extract >/etc/apparmor.d/abi/{NAME}"]).require()
    capabilities = node.read(f"{_FEATURES}/caps/mask") or b""
    return denial_rows.profile(capabilities.decode().split())


@pytest.fixture(scope="module")
def on_node(runtime: Runtime, copy: str) -> Proof:
    """The programs run as root of the node."""
    proof = Proof(runtime, 0, copy)
    proof.begin()
    return proof


@pytest.fixture(scope="module")
def inside(runtime: Runtime, copy: str) -> Proof:
    """They run as root of the container, in its namespaces."""
    proof = Proof(runtime, runtime.init_pid(CTID), copy)
    proof.begin()
    return proof


@pytest.fixture(params=["on_node", "inside"])
def proof(request: pytest.FixtureRequest) -> Proof:
    found: Proof = request.getfixturevalue(request.param)
    return found


def test_kernel_mediates_what_the_table_has_and_nothing_else(runtime: Runtime) -> None:
    """What it does not mediate is not left out silently: features do not have it."""
    found = runtime.node.run(["ls", _FEATURES]).require().text.split()
    assert set(found) - {"dfa"} == denial_rows.FEATURES


def test_each_program_is_denied_and_the_record_is_of_its_operation(proof: Proof) -> None:
    first = proof.first
    wanted = {**ROWS, **{name: each.operation for name, each in ADVISED.items()}}
    wanted = {name: each for name, each in wanted.items() if name in first.errnos}
    recorded = first.recorded
    assert {name: recorded[name][-1:] for name in wanted} == {
        name: [operation] for name, operation in wanted.items()
    }
    refused = first.refused - {FORBIDDEN}
    assert refused == wanted.keys()


@pytest.mark.parametrize("program", ROWS)
def test_suggested_rule_takes_away_its_denial_alone(on_node: Proof, program: str) -> None:
    """Beside it run the programs before and behind it in the table, which are like it."""
    names = [*ROWS]
    at = names.index(program)
    others = {names[at - 1], names[(at + 1) % len(names)]}
    copy = denial_rows.with_rules(on_node.copy, [on_node.rule(program)])
    tried = on_node.tried(copy, [program, *others])
    assert tried.errnos[program] == 0, on_node.rule(program)
    assert tried.refused == {*others, FORBIDDEN}
    assert tried.recorded.keys() == {*others, FORBIDDEN}


def test_suggested_rules_together_take_away_all_denials_that_rules_can(proof: Proof) -> None:
    rows = [name for name in ROWS if name in proof.first.errnos]
    assert {proof.rule(name) for name in rows} <= set(proof.suggested)
    tried = proof.tried(denial_rows.with_rules(proof.copy, proof.suggested), rows)
    assert tried.refused == {FORBIDDEN}
    assert tried.recorded.keys() == {FORBIDDEN}


@pytest.mark.parametrize("program", ADVISED)
def test_advice_of_what_no_rule_allows_takes_away_its_denial(on_node: Proof, program: str) -> None:
    told, advice = on_node.told[program], ADVISED[program]
    others = [name for name in ("umount", "capable") if name != program]
    try:
        tried = on_node.tried(denial_rows.advised(on_node.copy, program), [program, *others])
    finally:
        unload = f"profile {denial_rows.ABSENT} {{ }}".encode()
        on_node.runtime.node.run(["apparmor_parser", "--remove"], stdin=unload)
    assert tried.refused == {*others, FORBIDDEN}
    assert tried.recorded.keys() == {*others, FORBIDDEN}
    if told["fields"]["operation"] == advice.operation:
        assert advice.words in told["no_rule"]


def test_denial_of_a_deny_rule_stays_whatever_is_added(on_node: Proof) -> None:
    rule = on_node.told[FORBIDDEN]["rule"]
    tried = on_node.tried(denial_rows.with_rules(on_node.copy, [rule]), [])
    assert tried.refused == tried.recorded.keys() == {FORBIDDEN}
