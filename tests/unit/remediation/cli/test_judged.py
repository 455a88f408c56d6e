"""``--records``: what is done with a target is judged before and after, and compared."""

from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.errors import FactError, UsageError
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.machines.target_file import find
from docker_lxc_gate.verdict import bundle, comparison, record
from remediation.cli import judged
from tests.unit.verdict.test_comparison import EARLIER, GREEN, LATER, RED, run

AIM = Target("pve1", 950, plan="own/mine.toml")


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Target]:
    """The targets that the gate is asked about; the first time it says red, then green."""
    asked: list[Target] = []

    def ran(*words: str, at: Path, **_: Any) -> tuple[int, bytes]:
        asked.append(find(words[words.index("--target") + 1], at / "targets.toml"))
        [folder] = (Path(w.partition("=")[2]) for w in words if w.startswith("--alluredir="))
        folder.mkdir(parents=True)
        first = len(asked) == 1
        said = run({"a": RED}, EARLIER) if first else run({"a": GREEN}, LATER)
        (folder / bundle.RECORD).write_text(record.encoded(said))
        return 0, b""

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(judged, "run", ran)
    return asked


def test_both_records_are_kept_and_what_was_fixed_is_told(
    asked: list[Target], capsys: pytest.CaptureFixture[str]
) -> None:
    with judged.before_and_after(AIM, Path("kept")):
        assert len(asked) == 1
    old, new = (comparison.read(Path("kept", each, bundle.RECORD)) for each in ("before", "after"))
    assert [row.change for row in comparison.compared(old, new)] == ["fixed"]
    assert "1 fixed" in capsys.readouterr().err
    assert [each.plan for each in asked] == [str(Path("own/mine.toml").absolute())] * 2


def test_nothing_is_judged_after_what_failed_or_into_a_folder_that_exists(
    asked: list[Target],
) -> None:
    with pytest.raises(FactError), judged.before_and_after(AIM, Path("kept")):
        raise FactError("rolled back")
    assert len(asked) == 1
    with (
        pytest.raises(UsageError, match="name a new folder"),
        judged.before_and_after(AIM, Path("kept")),
    ):
        pytest.fail("it goes on")
    assert len(asked) == 1


def test_nothing_is_judged_unasked(asked: list[Target]) -> None:
    with judged.before_and_after(AIM, None):
        pass
    assert not asked
