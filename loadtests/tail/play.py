"""One scenario with one side: requests at their instants, whether or not others were answered, and their ends."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .upstreams import Failed, Request, Upstreams

LEAVES_AFTER_S = 0.1


class Side(Protocol):
    async def ask(self, request: Request) -> float:
        """Seconds to the first content; the coroutine ends with the answer. Raises Failed or TimeoutError."""
        ...


@dataclass
class Played:
    """`took` in units of what is usual for the request; `seconds` as they were; both of what succeeded."""

    requests: int = 0
    took: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed_at: list[float] = field(default_factory=list)
    served_at: list[float] = field(default_factory=list)
    asked: list[tuple[float, int]] = field(default_factory=list)  # (instant, target) of every try upstream

    @property
    def success(self) -> float:
        return len(self.took) / self.requests

    @property
    def calls(self) -> float:
        """Upstream calls a request."""
        return len(self.asked) / self.requests

    @property
    def mean_s(self) -> float:
        return sum(self.seconds) / len(self.seconds) if self.seconds else math.inf

    def quantile(self, share: float) -> float:
        if not self.took:
            return math.inf
        ordered = sorted(self.took)
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


async def play(
    requests: Sequence[Request], upstreams: Upstreams, make: Callable[[Upstreams], Side], *, patience_s: float = 600.0
) -> Played:
    """`patience_s`: until when an answer is of use; a client leaves a little later, so that it can be told."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    side = make(upstreams)
    played = Played(len(requests), asked=upstreams.asked)

    async def one(request: Request) -> None:
        try:
            async with asyncio.timeout(patience_s + LEAVES_AFTER_S):
                took = await side.ask(request)
        except (Failed, TimeoutError):
            played.failed_at.append(loop.time() - began)
            return
        played.seconds.append(took)
        played.took.append(took / request.usual_s)
        played.served_at.append(request.at + took)

    async with asyncio.TaskGroup() as running:
        for request in requests:
            ahead = began + request.at - loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            running.create_task(one(request))
    return played
