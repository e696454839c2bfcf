"""Caches for a gate of a test: all of it in memory, and a disk that fails fails the test."""

from __future__ import annotations

from pathlib import Path

from proxy.caching.cabinet import Cabinet
from proxy.caching.desk import Bounds, Caches
from proxy.clock import Clock


def caches(clock: Clock, path: Path | None = None, bounds: Bounds | None = None) -> Caches:
    return Caches(clock, Cabinet(path, _fail), bounds)


def _fail(what: str) -> None:
    raise AssertionError(what)
