"""Replies as they are kept, for tests."""

from __future__ import annotations

from proxy.caching.kept import Kept


def kept(size: int = 10, *, agent: str = "a", route: str = "m", stored: float = 0.0, until: float = 3_600.0) -> Kept:
    return Kept(
        body=b"x" * size,
        content_type="application/json",
        target="up/real",
        stored_wall=stored,
        until_wall=until,
        agent=agent,
        route=route,
        tokens=15,
        cost_usd_nanos=20_000,
    )
