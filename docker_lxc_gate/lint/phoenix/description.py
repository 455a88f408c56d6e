"""phoenix's description of containers: its schema, and what it would write into a configuration.

A schema is foreign, and a few lines of one can ask for more time and memory than there is. So the
library works in a process of its own, with limits.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.formats import pct_options
from docker_lxc_gate.lint import json_text
from docker_lxc_gate.lint.finding import Finding, Kind, Source
from docker_lxc_gate.lint.phoenix import schema_errors
from docker_lxc_gate.lint.rules import container_config, container_confinement
from docker_lxc_gate.lint.rules.profile import Assignment
from docker_lxc_gate.machines.process import limited
from docker_lxc_gate.machines.transport import Local

if TYPE_CHECKING:
    from docker_lxc_gate.lint.json_text import Document, Path

#: Seconds of the processor for the library.
_SECONDS = 5


class Unusable(Exception):
    """A schema by which nothing can be judged; the text says why."""


def mismatches(schema: Any, value: Any) -> list[tuple[Path, str]]:
    """Return where a schema does not allow a value, and why; raises Unusable if it cannot judge."""
    try:
        text = json.dumps([schema, value], ensure_ascii=False)
        both = text.encode(errors="xmlcharrefreplace")  # the library refuses a lone surrogate
        program = [sys.executable, "-I", schema_errors.__file__]
        result = Local().run(limited(*program, seconds=_SECONDS), stdin=both)
    except (RecursionError, TransportError) as error:
        raise Unusable("it is nested too deep, or asks for too much") from error
    if not result.ok:
        if result.exit_code == schema_errors.UNUSABLE:
            raise Unusable(result.stderr.decode(errors="replace").strip())
        raise Unusable("it asks for too much time or memory")
    return [(tuple(path), why) for path, why in json.loads(result.stdout)]


def check(source: Source, schemas: Sequence[Source], uses: list[Assignment]) -> Iterator[Finding]:
    """Yield what is wrong with a description.

    Of the schemas that are linted with it, its own is the one that it names, or the one next to it
    with its name. ``uses`` gets the profiles that the description gives to containers.
    """
    document, found = json_text.read(source)
    yield from found
    if document is None:
        return
    yield from _by_schema(source, document, schemas)
    for path, entry in _containers(document.value):
        yield from _options(source, document, path, entry)
        profile = entry.get("apparmor_profile")
        if isinstance(profile, str):
            line, _ = document.place((*path, "apparmor_profile"))
            if profile not in {"", "unconfined"}:  # phoenix then writes no line: Proxmox generates
                uses.append(Assignment(profile, source, line))


def _by_schema(source: Source, document: Document, schemas: Sequence[Source]) -> Iterator[Finding]:
    named = document.value.get("$schema") if isinstance(document.value, dict) else None
    default = source.name.removesuffix(".json") + ".schema.json"
    wanted = named.rpartition("/")[2] if isinstance(named, str) else default
    folder = source.path.rpartition("/")[0]
    own = [s for s in schemas if s.name == wanted]
    own.sort(key=lambda each: each.path.rpartition("/")[0] != folder)
    schema = json_text.read(own[0])[0] if own else None
    try:
        wrong = mismatches(schema.value, document.value) if schema else []
    except Unusable as error:
        said = f"its schema {own[0].path} cannot be used: {error}"
        yield source.at("not-checked", 0, said, fix="Correct the schema.")
        return
    for path, why in wrong:
        line, column = document.place(path)
        where = ".".join(map(str, path)) or "the document"
        yield source.at("json-schema", line, f"{where}: {why}", column=column)


def _containers(value: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    configs = value.get("lxc_configs") if isinstance(value, dict) else None
    for ctid, entry in configs.items() if isinstance(configs, dict) else ():
        if isinstance(entry, dict):
            yield ("lxc_configs", ctid), entry


def _options(
    source: Source, document: Document, path: Path, entry: dict[str, Any]
) -> Iterator[Finding]:
    """Yield what is wrong with its features and with its raw lines, each taken for a file's."""
    features = entry.get("pct_features")
    listed = isinstance(features, list) and all(isinstance(each, str) for each in features)
    if listed and (refused := pct_options.refusal("features", ",".join(features or ()))):
        line, column = document.place((*path, "pct_features"))
        yield source.at("container-features-invalid", line, refused.words, column=column)
    if entry.get("unprivileged") is False:
        line, column = document.place((*path, "unprivileged"))
        said = "'unprivileged' is false"
        yield source.at("container-privileged", line, said, column=column)
    options = entry.get("lxc_options")
    for number, option in enumerate(options if isinstance(options, list) else ()):
        if isinstance(option, str) and option.startswith("lxc.") and "\n" not in option:
            line, column = document.place((*path, "lxc_options", number))
            text = f"unprivileged: {int(entry.get('unprivileged') is True)}\n{option}"
            alone = Source(source.path, text.encode(errors="surrogateescape"), Kind.CONTAINER)
            for found in (*container_config.check(alone), *container_confinement.check(alone, {})):
                yield replace(found, line=line, column=column, edit=None)
