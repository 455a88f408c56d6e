"""The requirements: every clause of the plan, by the id that scenarios carry as ``@req:ID``."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Id to clause, in the plan's own order, which is also the order of every table.
CATALOGUE: Mapping[str, str] = MappingProxyType(
    {
        # 1. Prerequisites
        "PRE-1": "A full backup of the node and of its containers is complete and verified",
        "PRE-2": "The repository is cloned on the node and up to date",
        "PRE-3": "The node is reachable over SSH as root",
        "PRE-4": "The containers are stopped, or safe to restart",
        "PRE-5": "The audit log is watched for AppArmor events",
        # 2. Implementation, step 1: the node's AppArmor tunables
        "STEP-1.1": "The AppArmor setup script carries the nesting tunable",
        "STEP-1.2": "The nesting tunable is written on the node",
        "STEP-1.3": "AppArmor is reloaded",
        "STEP-1.4": "The container profile is loaded, and loading it logs no error",
        # step 2: the container's AppArmor profile
        "STEP-2.1": "The container profile carries the rules for fuse-overlayfs",
        "STEP-2.2": "The container profile is deployed and AppArmor reloaded",
        "STEP-2.3": "Nothing is denied when a container starts and runs Docker",
        # step 3: the Docker installation script
        "STEP-3.1": "The Docker script stops on errors, installs fuse-overlayfs and selects it",
        "STEP-3.2": "A new container with Docker is provisioned",
        "STEP-3.3": "A second provisioning of the same container ends without errors",
        # 3. Rollback
        "BACK-1": "The Docker installation is reverted",
        "BACK-2": "The AppArmor profile is reverted",
        "BACK-3": "The AppArmor tunable is reverted",
        # 4. Validation
        "VAL-1": "A test container is provisioned",
        "VAL-2": "Docker's storage driver is fuse-overlayfs",
        "VAL-3": "hello-world runs in Docker",
        "VAL-4": "The audit log shows no denial of fuse-overlayfs or Docker",
        "VAL-5": "Provisioning the same container again ends without errors",
    }
)


def in_order(ids: set[str]) -> tuple[str, ...]:
    """Return these ids in the catalogue's order; unknown ones are left out."""
    return tuple(known for known in CATALOGUE if known in ids)
