"""What is installed is pinned, and nothing of it runs while it is installed."""

import re

from tests.doubles.samples import ROOT

_PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_SCRIPTS = [
    *_PAGES,
    *sorted((ROOT / "scripts").iterdir()),
    *sorted((ROOT / ".ci").iterdir()),
    *sorted((ROOT / ".github").rglob("*.yml")),
]
_PIP = ("--only-binary :all:", "--require-hashes")
#: What installs, and the options without which it would run a package's code, or another package.
_INSTALLS = {
    r"\bpip3?\b[^;&|`]*? (install|download|wheel)\b": _PIP,
    r"\bnpm\b[^;&|`]*? ci\b(?! failed)": ("--ignore-scripts",),
    r"\bnpm\b[^;&|`]*? (install|i|add|update|exec)\b": ("never: npm ci takes what is locked",),
    r"\b(npx|uvx|pnpm|yarn|easy_install)\b ": ("never",),
    r"\b(pipx|uv tool) (?!install \.([ `]|$))": ("only this program",),
}


def test_installing_commands_run_no_code_of_a_package_and_take_what_is_pinned() -> None:
    wrong = []
    for path in _SCRIPTS:
        for line in re.sub(r"\\\n\s*", "", path.read_text()).splitlines():
            for command, options in _INSTALLS.items():
                if re.search(command, line) and not all(option in line for option in options):
                    wrong.append((path, line))
    assert wrong == []
