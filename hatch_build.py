"""Puts the commit into a package: hatchling calls this for the wheel and for the sdist."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
from docker_lxc_gate.home import COMMIT, commit


class Commit(BuildHookInterface):
    """Adds the file that names the commit, if the build knows it."""

    def initialize(self, _version: str, build_data: dict[str, Any]) -> None:
        """See hatchling."""
        self.folder = TemporaryDirectory()  # lives as long as the build
        file = Path(self.folder.name, COMMIT)
        file.write_text(commit())
        where = "" if self.target_name == "sdist" else "docker_lxc_gate/checkout/"
        build_data["force_include"][str(file)] = where + COMMIT
