"""The gate's scenarios: short names for the catalogue; title, file and tags from ``features/``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gherkin.parser import Parser
from pytest_bdd.scenario import make_python_name

_ROOT = Path(__file__).parents[1]

# -- prerequisites
CONTAINER_BACKUP = "The container has a backup that is recent and can be read"
NODE_BACKUP = "The node's configuration has a backup that is recent and can be read"
REPOSITORY = "The repository is current, and changed by nobody but the plan"
ROOT = "The node lets us in as root"
NEIGHBOURS = "No other container is taken by surprise"
LOG = "The audit log is there, has room, and shows what is denied"
# -- the node's AppArmor
SETUP = "The setup script carries the tunable"
TUNABLE = "The tunable is on the node"
RELOADED = "AppArmor was reloaded"
LOADS = "AppArmor loads without an error"
RULES = "The profile lets fuse-overlayfs mount"
DEPLOYED = "The deployed profile is the repository's"
CURRENT = "The deployed profile is the kernel's"
ENFORCED = "The profile is loaded and enforced"
ONE_NAME = "The profile has one name everywhere"
CONFINED = "The container runs under the profile"
REFUSED = "The profile refuses what a container must not do"
# -- the container
ENTRIES = "No mount entry is cut short"
GIVEN = "The container is given what Docker needs"
THERE = "What was given is there"
UNPRIVILEGED = "The container is unprivileged"
MAPPED = "Every id that an image may use is mapped"
UNITS = "The guest starts without units that AppArmor made fail"
# -- Docker
SCRIPT = "The script carries the plan's changes"
INSTALLED = "What the script does is done, in the container"
SETTINGS = "The user's own Docker settings survive"
HAS_DOCKER = "The container has Docker"
DRIVER = "The engine uses the required driver"
MOUNT = "A running Docker container stands on a fuse-overlayfs mount"
HELLO = "hello-world is pulled, runs and greets"
DENIALS = "Starting the container and running Docker is denied nothing"
# -- provisioning
FROM_NOTHING = "A container is provisioned from nothing"
AGAIN = "A second provisioning changes nothing"
# -- rollback
TUNABLE_BACK = "The tunable is rolled back"
PROFILE_BACK = "The profile is rolled back, from the kernel and from the container, too"
DOCKER_BACK = "Docker's installation is rolled back"
REHEARSED = "The whole plan is rehearsed"
LETTER = "The letter of the plan's rollback leaves a Docker that does not start"

#: Each of these scenarios applies the plan, or a large part of it: a fault that kills it takes as
#: long as twenty others.
SLOW = frozenset({PROFILE_BACK, DOCKER_BACK, REHEARSED, LETTER})


@dataclass(frozen=True)
class Scenario:
    """One scenario: title, tags, sentences, and its pytest node id."""

    title: str
    nodeid: str
    tags: frozenset[str]
    sentences: tuple[str, ...]

    @property
    def mutates(self) -> bool:
        """Whether it changes something on the target."""
        return "mutates" in self.tags

    @property
    def rehearses(self) -> bool:
        """Whether it starts before the plan is applied, or without a container."""
        return bool(self.tags & {"before_the_plan", "from_nothing"})


@cache
def scenarios() -> dict[str, Scenario]:
    """Return every scenario by its title: read-only ones first, then in the order of the files."""
    found = []
    for path in sorted((_ROOT / "features").glob("*.feature")):
        document: Any = Parser().parse(path.read_text())
        before: tuple[str, ...] = ()
        for child in document["feature"]["children"]:
            if background := child.get("background"):
                before = _sentences(background)
            if one := child.get("scenario"):
                title = one["name"]
                tags = frozenset(tag["name"].removeprefix("@") for tag in one["tags"])
                nodeid = f"features/{path.name}::test_{make_python_name(title)}"
                found.append(Scenario(title, nodeid, tags, before + _sentences(one)))
    found.sort(key=lambda each: each.mutates)
    return {each.title: each for each in found}


def read_only() -> tuple[str, ...]:
    """Return the titles of the scenarios that change nothing."""
    return tuple(title for title, each in scenarios().items() if not each.mutates)


def _sentences(part: Any) -> tuple[str, ...]:
    return tuple(step["text"] for step in part["steps"])


#: The scenarios that need a running container.
INSIDE = tuple(
    title for title, each in scenarios().items() if "the container is running" in each.sentences
)
