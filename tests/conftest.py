"""Coroutine tests run on the virtual loop: no test sleeps, whatever time it lives through."""

from __future__ import annotations

import gc
import inspect
import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests import effort, loop

settings.register_profile("full", max_examples=effort.FULL, deadline=None)
settings.register_profile("fast", max_examples=effort.FAST, deadline=None)
settings.load_profile("fast")

TRACES = Path(os.environ.get("HEADGATE_TRACES", Path(__file__).parents[1] / ".." / "shared" / "data"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    loop.run(pyfuncitem.obj(**arguments))
    return True


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the garbage collector need not walk through it each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
