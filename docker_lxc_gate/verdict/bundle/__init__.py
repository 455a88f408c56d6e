"""A bundle: what an auditor keeps of a run, in one file that tar, sha256sum and ssh-keygen read.

``SHA256SUMS`` lists every file, and ``SHA256SUMS.sig`` is the signature of that list.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

import msgspec

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import TransportError, UsageError
from docker_lxc_gate.machines import regular_file
from docker_lxc_gate.printable import counted, listed
from docker_lxc_gate.verdict import comparison
from docker_lxc_gate.verdict.bundle import archive
from docker_lxc_gate.verdict.bundle.archive import MANIFEST, SEALS, SIGNATURE

if TYPE_CHECKING:
    from docker_lxc_gate.verdict.record import Run

RECORD, PAGE = "verdict.json", "report/index.html"
#: A file of Allure's results, as Allure names it.
_RESULT = patterns.compile(r"[0-9a-f-]{36}-[a-z]+\.[\w.]{1,20}").fullmatch
#: What a signature is for, as ssh-keygen's ``-n``.
_NAMESPACE = "docker-lxc-gate"
#: ssh-keygen may take so long over a stranger's signature (seconds).
_PATIENCE = 30.0
#: How many names a message lists.
_LISTED = 4


def report(place: Path) -> tuple[Run, dict[str, bytes]]:
    """Return the record that a run left in a folder, and all files.

    Raises UsageError if there is no record, or not all the evidence that it names.
    """
    path = place / RECORD if place.is_dir() else place
    record = _read(path, archive.LARGEST)
    run, results = comparison.decoded(record, path), path.with_name("allure-results")
    results = results if results.is_dir() else path.parent
    there = {entry.name for entry in results.iterdir()}
    named = {name for scenario in run.scenarios for name in scenario.files}
    if missing := sorted(named - there):
        lacks = f"{results} lacks {counted(len(missing), 'file')} of evidence that {path} names"
        raise UsageError(f"{lacks}, such as {missing[0]}: name the folder that the run wrote")
    others = {}
    if path.name == RECORD:  # beside another name may be another run's
        others = {PAGE: path.parent / PAGE}
    if named:  # else they may be another run's, too
        others |= {f"allure-results/{name}": results / name for name in filter(_RESULT, there)}
    others = {name: at for name, at in others.items() if os.path.lexists(at)}
    read = {name: _read(at, archive.WHOLE) for name, at in others.items()}
    return run, {RECORD: record, **read}


def _read(path: Path, largest: int) -> bytes:
    try:
        return regular_file.read(path, largest)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path}: it cannot be bundled: {why}") from error


def sealed(files: dict[str, bytes], key: Path | None) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a bundle in order, and then their checksums and the signature.

    Raises UsageError if there is too much, or ssh-keygen cannot sign with this key.
    """
    sums = _manifest({name: _digest(content) for name, content in files.items()})
    size = sum(len(content) + 1024 for content in files.values()) + 2 * len(sums)
    if size > archive.WHOLE or len(files) + len(SEALS) > archive.MOST:
        raise UsageError(f"the report has {archive.TOO_MUCH}")
    yield from sorted(files.items())
    yield MANIFEST, sums
    if key:
        done = _keygen("sign", "-f", str(key), stdin=sums)
        if done.returncode:
            raise UsageError(f"{key} cannot sign: {_line(done.stderr)}")
        yield SIGNATURE, done.stdout


def _manifest(digests: dict[str, str]) -> bytes:
    """Return a list of checksums as ``sha256sum -c`` reads it."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


class Verification(msgspec.Struct):
    """What is wrong with a bundle, what ssh-keygen says of a good signature, and what is in it."""

    problems: list[str]
    signature: str = ""
    run: Run | None = None


def verified(bundle: Path, signers: Path | None) -> Verification:
    """Return what became of a bundle since it was made; it is a stranger's file.

    Raises UsageError if the file cannot be read.
    """
    try:
        with bundle.open("rb") as file:
            archive.require_one_frame(file)
            digests, kept = archive.read(file, {RECORD, *SEALS})
    except archive.Unsound as error:
        return Verification([f"it is no whole bundle: {error}"])
    except OSError as error:
        raise UsageError(f"{bundle}: it cannot be read: {error.strerror}") from error
    if missing := sorted({RECORD, MANIFEST} - kept.keys()):
        return Verification([f"missing or empty: {listed(missing, _LISTED)}"])
    result = Verification(changed(kept[MANIFEST], digests))
    try:
        result.run = comparison.decoded(kept[RECORD], RECORD)
    except UsageError as error:
        result.problems.append(str(error))
    result.signature, problem = _signature(kept.get(SIGNATURE), kept[MANIFEST], signers)
    result.problems += [problem] * bool(problem)
    return result


def changed(sums: bytes, digests: dict[str, str]) -> list[str]:
    """Return which files are not those of the list of checksums, by what became of them."""
    actual = {name: digest for name, digest in digests.items() if name not in SEALS}
    if sums == _manifest(actual):
        return []
    lines = (line.partition("  ") for line in sums.decode(errors="replace").splitlines())
    given = {name: digest for digest, _, name in lines}
    groups = {
        "changed": [name for name in actual if given.get(name, actual[name]) != actual[name]],
        "missing": sorted(given.keys() - actual),
        "added": sorted(actual.keys() - given),
    }
    told = [f"{what}: {listed(names, _LISTED)}" for what, names in groups.items() if names]
    return told or [f"{MANIFEST} is not as it was written"]


def _signature(signature: bytes | None, sums: bytes, signers: Path | None) -> tuple[str, str]:
    """Return what ssh-keygen says of a good signature, or else what is wrong with it."""
    if signature is None:
        return "", "it is not signed" if signers else ""
    try:
        tries = _tries(signature, sums, signers)
    except subprocess.TimeoutExpired:
        return "", f"ssh-keygen did not read its signature within {_PATIENCE:g} s"
    for done in tries:
        if not done.returncode:
            return _line(done.stdout), ""
    return "", f"its signature is not good, or not by an allowed key: {_line(tries[0].stderr)}"


def _tries(
    signature: bytes, sums: bytes, signers: Path | None
) -> list[subprocess.CompletedProcess[bytes]]:
    """Verify a signature, once for each principal whose key made it."""
    with NamedTemporaryFile() as file:
        file.write(signature)
        file.flush()
        if signers:
            about = ("-s", file.name, "-f", str(signers))
            known = _keygen("find-principals", *about)
            names = known.stdout.decode(errors="replace").splitlines()
            return [_keygen("verify", *about, "-I", name, stdin=sums) for name in names] or [known]
        return [_keygen("check-novalidate", "-s", file.name, stdin=sums)]


def _keygen(verb: str, *options: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run ``ssh-keygen -Y``; raises TransportError, and TimeoutExpired over a stranger's file.

    To sign, it asks for a passphrase on the terminal, and waits for it.
    """
    argv = ["ssh-keygen", "-Y", verb, "-n", _NAMESPACE, *options]
    try:
        limit = None if verb == "sign" else _PATIENCE
        return subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=limit)
    except OSError as error:
        why = f"ssh-keygen cannot be run: {error.strerror}"
        raise TransportError(f"{why}: install openssh-client") from error


def _line(output: bytes) -> str:
    return " ".join(output.decode(errors="replace").split())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
