"""Asks engines of one's own how busy they are, where calls choose between them: others may ask them as well.

A question every five seconds, one at a time to each, bounded in time and size. Who does not answer, or in no form that
is known, is left alone for five minutes, and counts by the gate's own calls alone, as all of them do without this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from policies.engine_load import EngineLoad, read
from policies.load import Loads
from proxy.alarm import Alarm
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.providers.base import Provider, UpstreamRequest

EVERY_S: Final = 5.0
TIMEOUT_S: Final = 2.0
LEFT_ALONE_S: Final = 300.0
BODY_MAX: Final = 4 * 1024 * 1024


class EngineWatch:
    def __init__(self, loads: Loads, clock: Clock, providers: Callable[[], Mapping[str, Provider]]) -> None:
        """`providers`: those of the configuration in force."""
        self._loads = loads
        self._clock = clock
        self._providers = providers
        self._alone_until: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"EngineWatch(leaves {sorted(self._alone_until)} alone)"

    async def keep(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.look()

    async def look(self) -> None:
        """One round, over those that calls have had to choose between."""
        providers, now = self._providers(), self._clock.now()
        self._alone_until = {name: at for name, at in self._alone_until.items() if at > now and name in providers}
        asked = [
            (name, request)
            for name in self._loads.providers
            if name in providers and name not in self._alone_until and (request := providers[name].load()) is not None
        ]
        await asyncio.gather(*[self._ask(name, request, providers[name]) for name, request in asked])

    async def _ask(self, name: str, request: UpstreamRequest, provider: Provider) -> None:
        said = await self._answer(request, provider)
        if said is None:
            self._alone_until[name] = self._clock.now() + LEFT_ALONE_S
        self._loads.told(name, said or EngineLoad(0, 0))

    async def _answer(self, request: UpstreamRequest, provider: Provider) -> EngineLoad | None:
        body = b""
        try:
            with Alarm(self._clock.now() + TIMEOUT_S):
                response = await provider.transport.send(request)
                try:
                    while response.status == 200 and len(body) < BODY_MAX and (data := await response.read()):
                        body += data
                finally:
                    response.close()
        except (TimeoutError, ProxyError):
            return None
        return read(body)
