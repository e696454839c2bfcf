"""Coroutine tests run on the virtual loop: no test sleeps, whatever time it lives through."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest

from tests import loop

TRACES = Path(os.environ.get("HEADGATE_TRACES", Path(__file__).parents[1] / ".." / "shared" / "data"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    loop.run(pyfuncitem.obj(**arguments))
    return True
