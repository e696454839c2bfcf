"""Calls that touch every feature whose panels want a value: about ten seconds of a small fleet's day."""

from __future__ import annotations

import asyncio

import aiohttp

from tests.grafana.stage import Stage

PROMPT = "You are a careful planner. " * 400
KNOWN_CALLS = 200
KNOWN_USD = 0.40
WARM_CALLS = 60
LATE_CALLS = 14


class Fleet:
    """Clients of one gate. `calls` counts what was answered, whatever the answer."""

    def __init__(self, stage: Stage, session: aiohttp.ClientSession) -> None:
        self._url = stage.gate_url
        self._session = session
        self.calls = 0

    async def ask(
        self,
        model: str,
        text: str,
        *,
        path: str = "/agents/planner/v1",
        stream: bool = False,
        retry: int = 0,
        clock: str = "",
    ) -> int:
        messages = [{"role": "system", "content": clock + PROMPT}, {"role": "user", "content": text}]
        body = {"model": model, "messages": messages, "stream": stream, "temperature": 0}
        headers = {"x-stainless-retry-count": str(retry)} if retry else {}
        url = f"{self._url}{path}/chat/completions"
        try:
            async with self._session.post(url, json=body, headers=headers) as response:
                await response.read()
                return response.status
        except aiohttp.ClientError:
            return 0
        finally:
            self.calls += 1

    async def many(self, count: int, model: str, text: str, *, path: str = "/agents/planner/v1") -> None:
        """Streams, eight at a time."""
        room = asyncio.Semaphore(8)

        async def one(number: int) -> None:
            async with room:
                await self.ask(model, f"{text} {number}", path=path, stream=True)

        await asyncio.gather(*(one(number) for number in range(count)))


async def play(stage: Stage) -> int:
    """How many calls were made."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        fleet = Fleet(stage, session)
        await asyncio.gather(_usual(fleet), _known(fleet), _odd(fleet), _runs(fleet))
        async with session.post(f"{stage.admin_url}/reload") as reloaded:
            assert reloaded.status == 200, await reloaded.text()
        return fleet.calls  # those that the gate makes itself come on top


async def _usual(fleet: Fleet) -> None:
    """What is usual is learnt, then some calls are late and are hedged."""
    await fleet.many(WARM_CALLS, "chat", "hello")
    await fleet.many(WARM_CALLS // 2, "small", "hello")
    for number in range(LATE_CALLS):
        await fleet.ask("chat", f"LATE {number}", stream=True)
    for number in range(6):
        await fleet.ask("small", f"LATE alone {number}", stream=True)


async def _known(fleet: Fleet) -> None:
    for number in range(KNOWN_CALLS):
        await fleet.ask("known", f"the same bill each time {number}")
        await asyncio.sleep(0.03)


async def _odd(fleet: Fleet) -> None:
    for number in range(8):
        await fleet.ask("frail", f"falls back {number}")
        await fleet.ask("cut", f"breaks off {number}", stream=True)
        await fleet.ask("free", f"no price {number}")
        await fleet.ask("chat", "too much for a budget", path="/agents/poor/v1")
        await fleet.ask("chat", "what an SDK tries again", retry=1)
        await fleet.ask("chat", "the same question", path="/agents/cached/v1", stream=True)
        await fleet.ask("smart", f"cheaper first {number}", stream=True)
        await fleet.ask("learned", f"as far as it is known {number}")
        await fleet.ask("strict", f"never good enough {number}", stream=True)
        await fleet.ask("jury", f"what do you all say? {number}")
        await fleet.ask("between", f"old or new? {number}")
    await fleet.ask("chat", "x" * 1_200_000)
    await asyncio.gather(*(fleet.ask("chat", f"in line {n}", path="/agents/single/v1") for n in range(6)))


async def _runs(fleet: Fleet) -> None:
    """More runs at engines than have room at once; their prompts grow, and one run's has a clock in it."""
    await asyncio.gather(*(_run(fleet, number) for number in range(24)))
    for step in range(4):
        path = "/agents/planner/runs/with-a-clock/v1"
        await fleet.ask("engine", "and now?", path=path, clock=f"It is 12:0{step}. ")


async def _run(fleet: Fleet, number: int) -> None:
    path = f"/agents/planner/runs/run-{number}/v1"
    for step in range(3):
        await fleet.ask("engine", "step by step " * (step + 1), path=path, stream=step > 0)
