"""What people use Docker for: images with many layers, networks, published ports, volumes.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest
from pytest_bdd import given, then, when

from docker_lxc_gate import patterns, printable
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.lab.docker_images import workload as built
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.verdict import evidence
from steps.docker import PATIENCE, cause, output, run_docker

#: What is made has these names, and is removed by them, also if a run was cut off.
_OURS = "docker-lxc-gate-"
_CHANGER, _SERVER, _WRITER = (_OURS + name for name in ("changer", "server", "writer"))
_ASKER, ESCAPER = _OURS + "client", _OURS + "escaper"
_NETWORK, _VOLUME = _OURS + "network", _OURS + "volume"
_CLEAN = (
    *("sh", "-c", program("steps", "clean.sh"), "clean"),
    *(f"{_CHANGER} {_SERVER} {_ASKER} {_WRITER} {ESCAPER}", _NETWORK, _VOLUME),
    f"{built.COMMITTED} {built.LOADED}",
)
#: No registry is asked for an image of our name.
_RUN = ["docker", "run", "--pull", "never"]
ALONE = [*_RUN, "--network", "none"]
#: What the programs print to be recognised: each run has another word.
_WORD = secrets.token_hex(8)
#: The exit code of ``image.sh`` if the guest's programs made no image.
_UNMADE = 70


_REACH = program("steps", "reach.pl")


def _perl(name: str, *words: str) -> list[str]:
    return ["perl", "-e", program("steps", name), *words]


def _docker(container: Transport, *commands: list[str]) -> list[CommandResult]:
    """Run commands one after the other; return their results up to the first that failed."""
    results: list[CommandResult] = []
    for command in commands:
        results.append(container.run(command, timeout=PATIENCE))
        if not results[-1].ok:
            break
    return results


@pytest.fixture(scope="module")
def workload(container: Transport, tell: Callable[[str], None]) -> Iterator[CommandResult]:
    """The last command that made the image, once for all scenarios; all is removed after them."""
    machine = container.look(["uname", "-m"]).require().text.strip()
    if machine not in built.MACHINES:
        raise FactError(
            f"{container.machine} is {machine[:40]!r}, and an image can be made of the programs of "
            f"{' or '.join(built.MACHINES)}"
        )
    container.run(_CLEAN, timeout=2 * PATIENCE)
    try:
        yield _made(container, built.archive(machine))
    finally:
        left = container.run(_CLEAN, timeout=2 * PATIENCE).text.split()
        if left:
            tell(f"not removed from {container.machine}: {printable.cut(', '.join(left), 300)}")


def _made(container: Transport, archive: bytes) -> CommandResult:
    load = ["sh", "-c", program("steps", "image.sh")]
    loaded = container.run(load, stdin=archive, timeout=2 * PATIENCE)
    if loaded.exit_code == _UNMADE:
        raise FactError(
            f"no image can be made of the programs of {container.machine}, which must have perl, "
            f"ldd, tar and sha256sum: {cause(output(loaded))}"
        )
    change = [*ALONE, "--name", _CHANGER, built.LOADED, *_perl("workload.pl", "change")]
    commit = ["docker", "commit", _CHANGER, built.COMMITTED]
    return _docker(container, change, commit)[-1] if loaded.ok else loaded


@given("an image of 30 layers is made of the container's own programs", target_fixture="made")
def image_is_made(workload: CommandResult) -> CommandResult:
    """29 layers are loaded as a registry would send them; Docker makes the last of a change."""
    return workload


@when("a Docker container lists the files of the image", target_fixture="listed")
def files_are_listed(container: Transport, made: CommandResult) -> CommandResult:
    """Its own perl looks through the mount."""
    run = [*ALONE, "--rm", built.COMMITTED, *_perl("workload.pl", "list")]
    return _docker(container, run)[-1] if made.ok else made


#: A line of the task "list": the path, and all that it says of the file.
_LISTED = patterns.compile(r"(\S{1,200}) (.{1,300})")


def _files(listed: CommandResult) -> dict[str, str]:
    assert listed.ok, f"no Docker container can list the image's files: {cause(output(listed))}"
    matches = [_LISTED.fullmatch(line) for line in listed.text.splitlines()]
    if not matches or None in matches:
        raise FactError(f"the list of the image's files cannot be read: {listed.stdout!r:.200}")
    return {line[1]: line[2] for line in matches if line}


def _expected() -> dict[str, str]:
    files = built.files()
    links = [file.link for file in files.values()]
    told = {}
    for path, file in files.items():
        first = file.link or path
        same = "-" if path.endswith("/") else f"{1 + links.count(first)}:{first}"
        owner = "{}:{}".format(*file.owner)
        told[path] = f"{file.mode:04o} {owner} {same} {file.attribute} {file.content}"
    return told


@then("each has its owner, its mode, its hard links and its extended attributes")
def files_are_as_built(listed: CommandResult) -> None:
    """Compare each file with what was built."""
    files, expected = _files(listed), _expected()
    wrong = [path for path, wanted in expected.items() if files.get(path) != wanted]
    assert not wrong, (
        f"{len(wrong)} of {len(expected)} files of an image are not as they were built: "
        f"/gate/{wrong[0]} is {files.get(wrong[0], 'absent')[:120]!r}, not "
        f"{expected[wrong[0]]!r} (mode, owner, links, user.gate, content): Docker's driver does "
        "not keep them"
    )
    evidence.say(f"{len(expected)} files in {built.COUNT} layers are as they were built")


#: A file of the directory that the Docker container removed and made again.
_MADE_AGAIN = "hidden/new"


@then("no file is there that a later layer removed")
def removed_files_are_gone(listed: CommandResult) -> None:
    """What is there was built, or is a directory on the way to it."""
    expected = _expected()
    more = {
        path
        for path in _files(listed)
        if path not in expected
        and not (path.endswith("/") and any(other.startswith(path) for other in expected))
    }
    if _MADE_AGAIN in more:
        more.remove(_MADE_AGAIN)
        evidence.say(
            "advice: where a build removes a directory and makes it again, its former files come "
            "back in the image (rm -r D && mkdir D). Docker does so on fuse-overlayfs, not overlay2"
        )
    assert not more, (
        f"an image has {len(more)} file(s) that a later layer removed, such as "
        f"/gate/{min(more)[:100]}: Docker's driver does not keep whiteouts"
    )


@when("a server and a client run on a network of their own", target_fixture="met")
def server_and_client_run(container: Transport, made: CommandResult) -> list[CommandResult]:
    """The client also tries each address outside that answers the container.

    Docker's default network has rules of its own, so a client there tries the addresses, too.
    """
    if not made.ok:
        return [made]
    run = [*_RUN, "--network", _NETWORK]
    server = [*run, "-d", "--name", _SERVER, "-p", "0.0.0.0::8080", built.COMMITTED]
    asker = ["--rm", "--name", _ASKER, built.COMMITTED]
    client, default = (" ".join([*words, *asker]) for words in (run, _RUN))
    return _docker(
        container,
        ["docker", "network", "create", _NETWORK],
        [*server, *_perl("workload.pl", "serve", _WORD)],
        ["sh", "-c", program("steps", "client.sh"), "client", client, _REACH, _SERVER, default],
        ["sh", "-c", program("steps", "published.sh"), "published", _SERVER, _REACH],
    )


#: A line of ``client.sh`` or ``reach.pl``: who was reached, and how.
_REACHED = patterns.compile(
    r"(server|(?:guest|outside|bridge) (?:[0-9.]{7,15}|docker\.io\.)) (.{1,100})"
)


def _reached(met: list[CommandResult], last: int) -> dict[str, str]:
    """Return what a command, if all before it succeeded, reached."""
    ended = met[: last + 1][-1]
    if not ended.ok and "address pool" in output(ended):
        raise FactError(f"Docker has no addresses left for a network: {cause(output(ended))}")
    assert ended.ok, f"the network cannot be used: {cause(output(ended))}"
    matches = [_REACHED.fullmatch(line) for line in ended.text.splitlines()]
    if len(met) <= last or not matches or None in matches:
        raise FactError(f"what was reached cannot be read: {ended.stdout!r:.200}")
    return {line[1]: line[2] for line in matches if line}


_CLIENT, _PUBLISHED = 2, 3
_NO_WAY = (
    "no NAT, or no forwarding (iptables, ip-masq and ip-forward in daemon.json, "
    "net.ipv4.ip_forward, iptables -t nat -S)"
)
_NO_NAMES = 'the name servers that Docker gives it do not answer ("dns" in daemon.json)'


@then("the client reaches the server by its name")
def server_is_reached(met: list[CommandResult]) -> None:
    """The server says this run's word."""
    heard = _reached(met, _CLIENT).get("server", "no answer")
    assert heard == _WORD, (
        f"a Docker container does not reach another by its name on their network: {heard!r}"
    )


@then("the server answers at its published port")
def port_answers(met: list[CommandResult]) -> None:
    """The container asks its own address, at the port that Docker chose."""
    heard = _reached(met, _PUBLISHED).get("server", "no answer")
    assert heard == _WORD, f"a published port does not answer at the container's address: {heard!r}"


@then("the client reaches what the container itself reaches")
def outside_is_reached(container: Transport, met: list[CommandResult]) -> None:
    """Without NAT or forwarding no answer finds its way back. A firewall's refusal is another."""
    reached = _reached(met, _CLIENT)
    told = {who[6:]: how for who, how in reached.items() if who.startswith("guest ")}
    if not told:
        evidence.say(
            "reached by name, and at a published port; advice: whether Docker containers reach the "
            "outside was not asked, because no name server and no gateway answers "
            f"{container.machine} itself at TCP port 53"
        )
        return
    names = {to: told[to] for to in told if to.endswith(".")}
    addresses = {to: told[to] for to in told if to not in names}
    default = any(who.startswith("bridge ") for who in reached)  # Docker need not have one
    networks = {"outside": "", **({"bridge": " on Docker's default network"} if default else {})}
    for word, network in networks.items():
        for asked, does, reason in ((addresses, "reach", _NO_WAY), (names, "resolve", _NO_NAMES)):
            heard = {to: reached.get(f"{word} {to}", "- no answer") for to in asked}
            assert not asked or heard.items() & asked.items(), (
                f"a Docker container{network} does not {does} {printable.listed([*asked], 3)}, "
                f"as the container itself does ({min(heard.values())}): {reason}"
            )
    without = "" if default else ", but from no default network: Docker has none"
    evidence.say(
        f"reached by name, at a published port, and {printable.listed([*told], 3)}{without}"
    )


@when("a Docker container that wrote into a volume is killed", target_fixture="killed")
def writer_is_killed(container: Transport, made: CommandResult) -> CommandResult:
    """It runs as the user to whom the image gives the volume's files, and always restarts."""
    if not made.ok:
        return made
    run = [*ALONE, "-d", "--name", _WRITER, "--restart", "always", "--user", "1000:1000"]
    run += ["--log-driver", "json-file"]  # the one that Docker can always read
    append = f"echo {_KEPT_WORD} >> /{built.ROOT}data/written"
    mount = ["-v", f"{_VOLUME}:/{built.ROOT}data"]
    health = ["--health-cmd", f"test -w /{built.ROOT}data/written", "--health-interval", "2s"]
    health += ["--health-timeout", "60s"]
    return _docker(
        container,
        [*run, *mount, *health, built.COMMITTED, *_perl("workload.pl", "write", _WORD)],
        ["sh", "-c", program("steps", "until_written.sh"), "until", _WRITER],
        ["docker", "exec", "--user", "0:0", _WRITER, "sh", "-c", append],
        ["docker", "kill", _WRITER],
    )[-1]


#: Written once, before the kill: the writer itself writes its word at each start.
_KEPT_WORD = f"{_WORD}-kept"
_SECURITY = "{{json .SecurityOptions}}"
_OWNED, _FILES = "1000:1000", 3
_OWNER = patterns.compile(r"(?:\.|first|written) [0-9]{1,10}:[0-9]{1,10}")


@then("the volume holds what was written, and every file has its owner")
def volume_is_kept(container: Transport, killed: CommandResult) -> None:
    """Docker itself copied one file from the image; the Docker container wrote the other."""
    assert killed.ok, f"no Docker container can be run with a volume: {cause(output(killed))}"
    argv = ["sh", "-c", program("steps", "kept.sh"), "kept", _VOLUME, _KEPT_WORD]
    kept = container.run(argv, timeout=PATIENCE)
    assert "no such volume" not in output(kept), "a volume is gone after the container's restart"
    *files, times = kept.text.splitlines() or [""]
    if not files or not all(map(_OWNER.fullmatch, files)):
        raise FactError(f"the volume's files cannot be read: {output(kept)[:200]!r}")
    other = [file for file in files if not file.endswith(f" {_OWNED}")]
    if other and "name=userns" in run_docker(container, "info", "-f", _SECURITY).text:
        raise FactError("Docker maps users (userns-remap), so who owns a volume's files is unknown")
    assert not other, (
        f"files of a volume have another owner than {_OWNED}, who wrote them: "
        f"{printable.listed(other, 3)}"
    )
    assert kept.ok, f"a volume lost what was written into it: {output(kept)[-200:]!r}"
    if len(files) != _FILES or not patterns.fullmatch("[0-9]{1,9}", times):
        raise FactError(f"the volume's files cannot be read: {kept.stdout!r:.200}")
    evidence.say("the volume's files and their owner are kept")


@then("the Docker container runs again, and becomes healthy")
def writer_is_healthy(container: Transport, killed: CommandResult) -> None:
    """Docker restarted it, and its health check, which is run in it, succeeded."""
    assert killed.ok, f"no Docker container can be run with a volume: {cause(output(killed))}"
    argv = ["sh", "-c", program("steps", "until_healthy.sh"), "until", _WRITER]
    state = container.run(argv, timeout=2 * PATIENCE).require().text.strip()
    assert state == "running healthy", (
        f"a Docker container that always restarts is {state[:60]!r} after the container's restart"
    )
