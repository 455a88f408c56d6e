"""A bundle verifies as it was made and signed, and not after any manipulation."""

import contextlib
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from docker_lxc_gate.cli.group import main
from docker_lxc_gate.verdict import bundle, record
from docker_lxc_gate.verdict.bundle import PAGE, RECORD, archive
from docker_lxc_gate.verdict.bundle.archive import MANIFEST, SIGNATURE, header, zstd
from tests.unit.verdict.conftest import Toy
from tests.unit.verdict.test_comparison import GREEN, NOT_ASKED, RED, run

Files = dict[str, bytes]
EVIDENCE = "00000000-0000-4000-8000-00000000000a-attachment.txt"
HELD = f"allure-results/{EVIDENCE}"


def told(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*map(str, words)])
    return done.exit_code, done.output


@pytest.fixture(name="reports")
def _reports(tmp_path: Path) -> Path:
    whole = run({"a": RED, "b": GREEN, "c": NOT_ASKED})
    text = record.encoded(whole).replace('"files": []', f'"files": ["{EVIDENCE}"]', 1)
    reports = tmp_path / "reports"
    for name, content in ((RECORD, text), (HELD, "$ uname\n"), (PAGE, "<p>"), ("junit.xml", "#")):
        (reports / name).parent.mkdir(parents=True, exist_ok=True)
        (reports / name).write_text(content)
    return reports


@pytest.fixture(name="keys", scope="module")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys of two people, and files that allow each."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("alice", "bob"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(argv, check=True)
        allowed = f"{name},{name}@example.com {(folder / f'{name}.pub').read_text()}"
        (folder / f"allow-{name}").write_text(allowed)
    return folder


@pytest.fixture(name="signed")
def _signed(reports: Path, keys: Path, tmp_path: Path) -> Path:
    made = tmp_path / "signed.tar.zst"
    code, said = told("bundle", reports, "--output", made, "--sign", keys / "alice")
    assert code == 0, said
    return made


def unpacked(made: Path) -> Files:
    with tarfile.open(fileobj=io.BytesIO(zstd.decompress(made.read_bytes()))) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]


def packed(made: Path, files: Files) -> None:
    made.unlink()
    seals = {name: files.pop(name) for name in archive.SEALS if name in files}
    archive.write(made, [*sorted(files.items()), *seals.items()])


def summed(files: Files) -> None:
    """Make the list of checksums again, as anybody can."""
    others = sorted((name, each) for name, each in files.items() if name not in archive.SEALS)
    lines = (f"{hashlib.sha256(each).hexdigest()}  {name}\n" for name, each in others)
    files[MANIFEST] = "".join(lines).encode()


def test_bundle_of_a_real_run_verifies_and_is_read_by_everyday_programs(
    toy: Toy, keys: Path, tmp_path: Path
) -> None:
    toy.feature("Given a target", "Then all is well", tags="@req:VAL-2")
    toy.run()
    made, into = tmp_path / "made.tar.zst", tmp_path / "into"
    reports = toy.path / "reports"
    code, said = told("bundle", reports, "--output", made, "--sign", keys / "alice")
    assert (code, made.stat().st_mode & 0o777) == (0, 0o600), said
    assert said == f"{made}: compliant; asked: 1 of 1 scenario; signed, without an HTML page\n"
    code, said = told("verify", made, "--allowed-signers", keys / "allow-alice")
    assert code == 0, said
    assert f"{made}: verified\n" in said
    assert "verdict: compliant; asked: 1 of 1 scenario (1 compliant)" in said
    assert "signature for alice" in said
    into.mkdir()
    script = (
        'tar --zstd -xf "$1" && sha256sum --strict -c SHA256SUMS && ssh-keygen -Y verify '
        '-n docker-lxc-gate -f "$2" -I alice -s SHA256SUMS.sig <SHA256SUMS'
    )
    argv = ["sh", "-ec", script, "x", str(made), str(keys / "allow-alice")]
    subprocess.run(argv, cwd=into, check=True, capture_output=True)
    [named] = toy.verdict()["scenarios"]
    assert {f"allure-results/{name}" for name in named["files"]} < unpacked(made).keys()


def test_bundle_of_the_same_report_is_the_same_bytes(reports: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert told("bundle", reports, "--output", one)[0] == 0
    assert told("bundle", reports / RECORD, "--output", other)[0] == 0
    assert one.read_bytes() == other.read_bytes()
    assert [*unpacked(one)] == [HELD, PAGE, RECORD, MANIFEST]


def test_bundle_without_allowed_signers_says_nobodys_signature_was_checked(signed: Path) -> None:
    code, said = told("verify", signed)
    assert code == 0
    assert "nobody's signature was checked: name --allowed-signers" in said
    assert "Good" not in said
    whole = json.loads(told("verify", signed, "--json")[1])
    assert (whole["verified"], whole["trusted"], whole["signature"]) == (True, False, "")


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_signature_counts_only_of_an_allowed_key(signed: Path, keys: Path, name: str) -> None:
    code, said = told("verify", signed, "--allowed-signers", keys / f"allow-{name}", "--json")
    whole = json.loads(said)
    good, why = name == "alice", "its signature is not good, or not by an allowed key: No principal"
    assert (code, whole["verified"], whole["trusted"]) == (int(not good), good, good)
    assert good or whole["problems"][0].startswith(why)


def signed_for_files(files: Files, keys: Path) -> None:
    argv = ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(keys / "alice")]
    files[SIGNATURE] = subprocess.check_output(argv, input=files[MANIFEST], stderr=subprocess.PIPE)


def changed_since(files: Files, _: Path) -> None:
    files[HELD] += b"more"
    summed(files)


@pytest.mark.parametrize(
    ("manipulate", "why"),
    [
        (signed_for_files, "namespace does not match"),
        (changed_since, "incorrect signature"),
        (lambda files, _: files.pop(SIGNATURE), "it is not signed"),
        (lambda files, _: files.update({SIGNATURE: b"-----BEGIN\n"}), "its signature is not good"),
    ],
)
def test_signature_of_anything_else_does_not_verify(
    signed: Path, keys: Path, manipulate: Callable[[Files, Path], object], why: str
) -> None:
    files = unpacked(signed)
    manipulate(files, keys)
    packed(signed, files)
    code, said = told("verify", signed, "--allowed-signers", keys / "allow-alice")
    assert (code, why in said) == (1, True), said
    assert "verdict:" not in said
    if SIGNATURE in unpacked(signed):
        assert told("verify", signed)[0] == 1


@pytest.mark.parametrize(
    ("manipulate", "why"),
    [
        (lambda files: files.update({HELD: b"$ unamE\n"}), f"changed: {HELD}"),
        (lambda files: files.update({RECORD: b"[" * 9999}), "verdict.json: it is no record"),
        (lambda files: files.pop(HELD), f"missing: {HELD}"),
        (lambda files: files.pop(RECORD), "missing or empty: verdict.json"),
        (lambda files: files.update({MANIFEST: b""}), "missing or empty: SHA256SUMS"),
        (lambda files: files.update({MANIFEST: files[MANIFEST] * 2}), "SHA256SUMS is not as"),
        (lambda files: files.update({"report/more.html": b""}), "added: report/more.html"),
    ],
)
def test_bundle_with_other_files_does_not_verify(
    signed: Path, manipulate: Callable[[Files], object], why: str
) -> None:
    files = unpacked(signed)
    del files[SIGNATURE]
    manipulate(files)
    packed(signed, files)
    code, said = told("verify", signed)
    assert (code, why in said) == (1, True), said


def member(name: str, kind: bytes = tarfile.REGTYPE, **more: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, 0o600
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.USTAR_FORMAT) + bytes(info.size % 512 and 512)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (member("a", tarfile.SYMTYPE, linkname="/etc/shadow"), "'a' is no regular file"),
        (member("a", tarfile.LNKTYPE, linkname=RECORD), "'a' is no regular file"),
        (member("a", tarfile.CHRTYPE, devmajor=1, devminor=3), "'a' is no regular file"),
        (member("a", tarfile.DIRTYPE), "'a/' is no regular file"),
        (member("a", tarfile.XHDTYPE, size=9), "'a' is no regular file"),
        (member("../a"), "'../a' is no regular file"),
        (member("/etc/a"), "'/etc/a' is no regular file"),
        (member("a" * 101 + "/b"), "is no regular file"),
        (member("a\x1b[2J"), r"is no regular file"),
        (header("a", 9) + b"123456789" + b"x" * 503, "something is hidden behind a"),
        (header("a", 0) * 2, "a occurs twice, or out of order"),
        (header("b", 0) + header("a", 0), "a occurs twice, or out of order"),
        (header("a", 1 << 31), "it has more than 1024 MiB"),
        (header(RECORD, archive.LARGEST + 1), "it has more than"),
        (header(SIGNATURE, 1 << 17), "it has more than"),
        (bytes(512) + b"x" * 512, "something follows its end"),
        (bytes(1024) + header("a", 0), "something follows its end"),
    ],
)
def test_archive_that_no_bundle_has_leaves_nothing(tmp_path: Path, more: bytes, why: str) -> None:
    made = tmp_path / "made"
    made.write_bytes(zstd.compress(more + bytes(1024) * any(more[:512])))
    code, said = told("verify", made)
    assert (code, why in said) == (1, True), said
    assert "\x1b" not in said
    assert [*tmp_path.iterdir()] == [made]


def test_archive_of_too_many_files_or_bytes_is_refused_on_both_sides(
    reports: Path, signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("MOST", 4), ("WHOLE", 4000)):
        with monkeypatch.context() as less:
            less.setattr(archive, name, most)
            code, said = told("verify", signed)
            assert (code, "it has more than" in said) == (1, True), said
            code, said = told("bundle", reports, "--output", signed.with_name("other"))
            assert (code, signed.with_name("other").exists()) == (2, False), said
    wide = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    signed.write_bytes(wide.compress(header("a", 0)) + wide.flush())
    code, said = told("verify", signed)
    assert (code, "too much memory" in said) == (1, True), said


def test_archive_with_any_byte_lost_or_changed_is_refused_or_holds_the_same(signed: Path) -> None:
    """A byte of the compression may have no meaning; what it holds is what verifies."""
    whole = signed.read_bytes()
    held = archive.read(io.BytesIO(whole), {RECORD})
    for at in range(0, len(whole), 7):
        flipped = whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :]
        for content in (whole[:at], flipped, whole + whole[at:]):
            with contextlib.suppress(archive.Unsound):
                assert archive.read(io.BytesIO(content), {RECORD}) == held != content == flipped


def test_bundle_of_two_frames_or_of_a_slow_signature_does_not_verify(
    signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = tmp_path / "two"
    two.write_bytes(signed.read_bytes() + zstd.compress(b""))
    assert bundle.verified(two, None).problems == [
        "it is no whole bundle: it is more than one frame of zstd"
    ]
    (tmp_path / "ssh-keygen").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "ssh-keygen").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(bundle, "_PATIENCE", 0.2)
    (problem,) = bundle.verified(signed, None).problems
    assert "did not read its signature within" in problem


def link(at: Path) -> None:
    at.unlink()
    at.symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    ("manipulate", "options", "why"),
    [
        (Path.unlink, "", f"lacks 1 file of evidence that reports/{RECORD} names"),
        (link, "", f"{EVIDENCE}: it cannot be bundled: "),
        (Path.stat, "--output reports/junit.xml", "junit.xml cannot be written: File exists"),
        (Path.stat, "--sign reports/junit.xml", "junit.xml cannot sign: "),
    ],
)
def test_bundle_that_cannot_be_made_is_wrong_usage_and_leaves_no_file(
    reports: Path, manipulate: Callable[[Path], object], options: str, why: str
) -> None:
    manipulate(reports / HELD)
    with contextlib.chdir(reports.parent):
        code, said = told("bundle", "reports", *options.split())
    assert (code, why in said) == (2, True), said
    assert [each.name for each in reports.parent.iterdir()] == ["reports"]
    assert (reports / "junit.xml").read_text() == "#"


def test_bundle_of_a_record_takes_no_page_and_evidence_of_another_run(reports: Path) -> None:
    copy = (reports / RECORD).rename(reports / "before.json")
    assert [*bundle.report(copy)[1]] == [RECORD, HELD]
    copy.write_text(record.encoded(run({"a": GREEN})))
    assert [*bundle.report(copy)[1]] == [RECORD]


def test_missing_ssh_keygen_is_one_error_of_both_commands(
    reports: Path, signed: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for words in (
        ("bundle", reports, "--output", signed.with_name("x"), "--sign", keys / "alice"),
        ("verify", signed, "--allowed-signers", keys / "allow-alice"),
    ):
        code, said = told(*words)
        assert (code, said.count("\n")) == (3, 1), said
        assert "ssh-keygen cannot be run: No such file or directory: install openssh" in said
