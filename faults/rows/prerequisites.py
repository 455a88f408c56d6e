"""The prerequisites: backups, the repository, other containers."""

from __future__ import annotations

from faults.fault import node_fault, red, undetermined

_ARCHIVE, _LOG, _ETC = (f'"$dump"/{name}' for name in ("vzdump-*.tar.zst", "vzdump-*.log", "etc-*"))
#: Adds a commit to the upstream that the checkout lacks.
_NEWER = """
cd /srv/phoenix_hypervisor.git
export GIT_AUTHOR_NAME=lab GIT_AUTHOR_EMAIL=lab@localhost
export GIT_COMMITTER_NAME=lab GIT_COMMITTER_EMAIL=lab@localhost
commit=$(git commit-tree -p main -m newer 'main^{tree}')
git update-ref refs/heads/main "$commit"
"""
#: Container 953 is neither under test nor reserved.
_NEIGHBOUR = """
create 953 other --features nesting=1
echo "lxc.apparmor.profile: $profile" >>/etc/pve/lxc/953.conf
pct start 953
"""

FAULTS = (
    node_fault(
        "F80",
        "there are no backups",
        f"rm {_ARCHIVE} {_ETC}",
        expect=red(
            "container-backup", "there is no backup of container {ctid} that counts", "none is in"
        )
        | red("node-backup", "there is no backup of"),
    ),
    node_fault(
        "F80-old",
        "the container's backup is years old",
        'for each in "$dump"/vzdump-*; do '
        'mv "$each" "$(echo "$each" | sed -E \'s/[0-9]{4}(_[0-9]{2}){2}-/2020_01_01-/\')"; done',
        expect=red("container-backup", "h old, and 24 h are allowed"),
    ),
    node_fault(
        "F80-cut",
        "the container's backup is cut off",
        f"truncate -s -40 {_ARCHIVE}",
        expect=red("container-backup", "cannot be read to its end"),
    ),
    node_fault(
        "F80-unfinished",
        "the backup's log does not say that it was finished",
        f"sed -i '/Finished Backup/d' {_LOG}",
        expect=red("container-backup", "was not finished: its log ends with"),
    ),
    node_fault(
        "F80-error",
        "the backup's log says that it failed",
        f"sed -i '1a 2025-01-01 00:00:00 ERROR: Backup of VM failed - no space left' {_LOG}",
        expect=red("container-backup", "has an error in its log", "no space left"),
    ),
    node_fault(
        "F80-log",
        "the backup has no log",
        f"rm {_LOG}",
        expect=red("container-backup", "has no log beside it"),
    ),
    node_fault(
        "F80-other",
        "the archive of /etc holds something else",
        f'for each in {_ETC}; do tar --create --zstd --file="$each" -C /etc hostname; done',
        expect=red("node-backup", "does not hold etc"),
    ),
    node_fault(
        "F80-empty",
        "the archive of /etc is empty: the disk was full",
        f'for each in {_ETC}; do : >"$each"; done',
        expect=red("node-backup", "is empty"),
    ),
    node_fault(
        "F81",
        "the repository has uncommitted changes",
        'echo notes >"$repository/notes.txt"',
        expect=red("repository", "not the plan's: notes.txt"),
    ),
    node_fault(
        "F81-behind",
        "the repository is behind its upstream",
        _NEWER,
        expect=red("repository", "pull --ff-only"),
    ),
    node_fault(
        "F81-upstream",
        "the repository's upstream does not answer",
        "mv /srv/phoenix_hypervisor.git /srv/away",
        expect=undetermined("repository", "does not answer"),
    ),
    node_fault(
        "F81-plain",
        "the repository was copied, not cloned",
        'mv "$repository/.git" /root/taken.git',
        expect=red("repository", "is a directory, but no git checkout"),
    ),
    node_fault(
        "F82",
        "another container runs under the profile",
        _NEIGHBOUR,
        expect=red("neighbours", "the change reaches 1 other container(s) that run: 953"),
    ),
)
