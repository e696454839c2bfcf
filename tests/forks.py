"""Runs of pytest, one after another, each in a fork of a process that has imported what is not the project's.

Most of a short run is the imports of others. Started as a script in a copy of the tree, of which it imports nothing
itself: each line of its input names the arguments of a run and the file for what it says, each line of its output is
the exit code. A run that takes too long is ended by its own alarm.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import sys

import pytest

OTHERS = ("aiohttp.web", "hypothesis", "jsonschema", "prometheus_client", "pydantic", "regex", "uvloop", "yaml")


def main() -> None:
    for name in OTHERS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.path[0] = os.getcwd()  # instead of where this script is
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(order["arguments"], order["output"], order["seconds_max"])
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(arguments: list[str], output: str, seconds_max: int) -> None:
    signal.alarm(seconds_max)
    said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(said, stream)
    code = pytest.main(arguments)
    sys.stdout.flush()
    os._exit(int(code))


if __name__ == "__main__":
    main()
