"""A plugin of pytest: after collection, run the scenarios that each line on standard input names.

pytest starts, imports and collects once. Each run is a fork of this process, from before it
connects to the target: it knows no connection, answer or fact of another run. Standard input is a
socket, which gets each run's exit code.
"""

from __future__ import annotations

import json
import os
import socket

import pytest

#: pytest replaces standard input after it has imported this module.
_CHANNEL = socket.socket(fileno=os.dup(0))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Return in a fork for each run. The gate's own hook, which comes next, connects."""
    collected = {item.nodeid.partition("[")[0]: item for item in items}
    with _CHANNEL, _CHANNEL.makefile("rw") as lines:
        for line in lines:
            run = os.fork()
            if not run:
                items[:] = [collected[nodeid] for nodeid in json.loads(line)]
                return
            code = os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])
            print(code, file=lines, flush=True)
    pytest.exit("standard input was closed: no more scenarios are run")
