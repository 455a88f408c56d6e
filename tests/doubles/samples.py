"""What machines, files and programs say, where that is too long for a test's own text."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/data"
#: The lab's checkout of phoenix, in the state before the plan.
PHOENIX = ROOT / "docker_lxc_gate/lab/guest/phoenix_hypervisor"


def sample(name: str) -> str:
    """Return the text of a file below ``tests/data``."""
    return (DATA / name).read_text("utf-8")
