"""What `headgate doctor` looks at where gates share a store: whether it answers, and whether they can agree."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from proxy.cli.doctor_finding import Finding
from proxy.clock import SystemClock
from proxy.config.load import Config
from proxy.config.sharing import Shared
from proxy.state.keys import PEPPER_VARIABLE
from proxy.state.shared_store import StoreError, connect

NAME = "shared store"


def shared(config: Config, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Nothing where none is configured."""
    if config.shared.redis is None:
        return
    yield asyncio.run(_answers(config.shared))
    if not environment.get(PEPPER_VARIABLE):
        words = f"{PEPPER_VARIABLE} is not set: each gate makes its own, and then a key is another one at each"
        yield Finding(NAME, "warning", words, "give all gates the same one: rate limits of keys count together then")
    if config.shared.gates == 1:
        remedy = "set `shared.gates` to the number of gates"
        yield Finding(NAME, "warning", "it is shared by one gate, so without it each takes all of a limit", remedy)


async def _answers(settings: Shared) -> Finding:
    assert settings.redis is not None
    clock = SystemClock()
    try:
        store = connect(settings.redis.reveal(), max(1.0, settings.timeout_s))
        await store.ping()  # connects
        began = clock.now()
        await store.ping()
        took_ms = (clock.now() - began) * 1_000
        await store.close()
    except (StoreError, ValueError) as error:
        words = f"it does not answer: {error}"
        return Finding(NAME, "warning", words, "gates go on without it, each with its part of the rate limits")
    words = f"it answers in {took_ms:.1f} ms; a call waits up to {settings.timeout_ms} ms"
    if took_ms > settings.timeout_ms:
        return Finding(
            NAME, "warning", words, "calls would do without it: raise `shared.timeout_ms`, or move it nearer"
        )
    return Finding(NAME, "ok", words)
