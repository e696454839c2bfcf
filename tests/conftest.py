"""Coroutine tests run on the virtual loop: no test sleeps, whatever time it lives through, but beside a real server."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import effort, loop
from tests.redis_server import RedisServer, redis_server

settings.register_profile("full", max_examples=effort.FULL, deadline=None)
settings.register_profile("fast", max_examples=effort.FAST, deadline=None)
settings.load_profile("fast")

if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    sys.dont_write_bytecode = False  # else each run, and each gate it starts, compiles everything anew

gc.disable()  # while tests are collected: next to nothing of it is garbage

PROCESSES_MAX = 4  # each collects all tests once more

# A minute and more.
LONG = ("tests/test_planted.py", "demo/test_stage.py", "workers/test_stuck.py", "grafana/test_live.py")

TRACES = Path(os.environ.get("HEADGATE_TRACES", Path(__file__).parents[1] / ".." / "shared" / "data"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite on all processors; files that are named, in this process, where one can look at them."""
    processors = os.cpu_count() or 1
    return 0 if config.getoption("file_or_dir", None) or processors == 1 else min(PROCESSES_MAX, processors)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then those with the most tests: no processor has nothing to do at the end."""
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (not item.path.as_posix().endswith(LONG), -sizes[item.path], str(item.path)))


@pytest.fixture(autouse=True, scope="module")
def earlier_modules_are_not_looked_at() -> None:
    """By a test's own `gc.collect()`, which would walk through all that thousands of tests have left."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    run = asyncio.run if "real_time" in pyfuncitem.fixturenames else loop.run
    run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture
def real_time() -> None:
    """For a coroutine test that another process takes part in: the loop's clock must not jump."""


@pytest.fixture
def redis(real_time: None) -> Iterator[RedisServer]:
    """A server of the test's own."""
    with redis_server() as server:
        yield server


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the garbage collector need not walk through it each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
