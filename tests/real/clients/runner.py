"""Runs the scenarios of one module, one line of JSON in and one out, so that an SDK is imported once for many tests.

A scenario is a public function of `base_url` and `api_key`, plain or async, that returns something JSON can say. An
exception is told by the names of its classes and by the fields that the SDKs document on their errors.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
from typing import Any

TOLD = ("status_code", "code", "param", "type", "message")


def answer(loop: asyncio.Runner, function: Any, asked: dict[str, str]) -> dict[str, Any]:
    try:
        value = function(asked["base_url"], asked["api_key"])
        return {"value": loop.run(value) if inspect.iscoroutine(value) else value}
    except Exception as error:
        told = {name: getattr(error, name, None) for name in TOLD}
        return {"error": told | {"classes": [kind.__name__ for kind in type(error).__mro__], "text": str(error)}}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an SDK prints is no answer
    module = importlib.import_module(sys.argv[1])
    with asyncio.Runner() as loop:  # one for all scenarios: some SDKs keep a client for the life of the process
        for line in sys.stdin:
            asked = json.loads(line)
            scenario = getattr(module, asked["scenario"])
            print(json.dumps(answer(loop, scenario, asked)), file=answers, flush=True)


if __name__ == "__main__":
    main()
