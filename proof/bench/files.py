"""``python -m proof.bench.files``: writes what ``scripts/bench --files`` measures."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TextIO

import click

from docker_lxc_gate.tables import Row, table

#: How many different files the denials name.
_NAMES = 100
#: How many lines are written before the size of a log is looked at.
_LINES = 10_000


class _Texts(Row, frozen=True):
    """What is written, as ``files.toml`` has it."""

    configuration: str
    denial: str
    others: tuple[str, ...]


_TEXTS = table("proof.bench", "files", _Texts)


@click.group()
def main() -> None:
    """Write configurations and logs."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("number", type=int)
def configurations(folder: Path, number: int) -> None:
    """Write NUMBER healthy configurations to FOLDER, each of a container with a snapshot."""
    folder.mkdir()
    for ctid in range(100, 100 + number):
        now = _TEXTS.configuration.format(ctid=ctid, parent="parent: before\n", taken="")
        then = _TEXTS.configuration.format(ctid=ctid, parent="", taken="snaptime: 1795532651\n")
        (folder / f"{ctid}.conf").write_text(f"{now}\n[before]\n{then}")


@main.command()
@click.argument("file", type=click.File("w", lazy=False))
@click.argument("mib", type=int)
@click.argument("one_in", type=int)
def log(file: TextIO, mib: int, one_in: int) -> None:
    """Write a log of MIB, in which one line in ONE_IN is a denial; print the number of denials."""
    others = _TEXTS.others
    for number in count():
        line = others[number % len(others)] if number % one_in else _TEXTS.denial
        at = f"{1_795_717_106 + number // 50}.{number % 50 * 20:03}:{number}"
        name = number // one_in % _NAMES
        file.write(line.format(at=at, name=name, pid=1000 + number % 30_000) + "\n")
        if not number % _LINES and file.tell() >= mib << 20:
            click.echo(number // one_in + 1)
            return


if __name__ == "__main__":
    main()
