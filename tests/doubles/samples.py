"""What machines, files and programs say, where that is too long for a test's own text."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/data"


def sample(name: str) -> str:
    """Return the text of a file below ``tests/data``."""
    return (DATA / name).read_text("utf-8")
