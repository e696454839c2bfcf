"""A gate that is asked from another process: both ends, joined by nothing but their messages."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Struct, msgpack

from policies.gate_line import Ask
from policies.run_gate import GateRules
from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.execution.gate_desk import GateDesk, Pass, Pool
from proxy.tasks import Tasks
from proxy.workers.gate_messages import Entering, KeptOut, LetIn, Over, Unwanted
from proxy.workers.gates import Clerk, RemoteDesk
from tests.flow.world import NoWaits

UP = msgpack.Decoder(Entering | Unwanted | Over)
DOWN = msgpack.Decoder(LetIn | KeptOut)
SOON_S = 0.001


class Line:
    """The desk, and a worker that talks to it a moment later, over encoded messages."""

    def __init__(self, runs: int = 1) -> None:
        rules = GateRules(share=1.0, idle_s=60.0)
        self.tasks = Tasks(lambda name, error: None)
        self.desk = GateDesk([Pool("m", frozenset(), runs * 60_000, rules)], SystemClock(now=loop_time), NoWaits())
        self.clerk = Clerk(self.desk, self.tasks, self._down)
        self.remote = RemoteDesk(self._up)

    def _up(self, message: Struct) -> None:
        data = msgpack.encode(message)
        asyncio.get_running_loop().call_later(SOON_S, lambda: self.clerk.hear(UP.decode(data)))

    def _down(self, message: Struct) -> None:
        data = msgpack.encode(message)
        asyncio.get_running_loop().call_later(SOON_S, lambda: self.remote.hear(DOWN.decode(data)))

    def start(self, run: str, left_s: float = 1_000.0, *above: str) -> asyncio.Task[Pass]:
        return self.tasks.start("call", self.remote.enter("m", Ask(run, "a", 2, 10, above=above), left_s))

    @property
    def counted(self) -> tuple[int, int, int]:
        """Passes, calls that wait, active runs."""
        row = self.desk.rows()[0]
        return self.desk.passes, row.calls, row.active


async def test_a_call_is_let_in_and_its_end_is_told() -> None:
    line = Line()
    given = await line.start("r")
    assert line.counted == (1, 0, 1)
    line.remote.ended(given.number, input_tokens=90_000, cached_tokens=5)
    await asyncio.sleep(1)
    assert line.counted == (0, 0, 1)
    assert line.desk.in_use("m") == 90_000


async def test_a_call_waits_here_for_what_happens_there_and_is_told_for_how_long() -> None:
    line = Line()
    first = await line.start("first")
    line.remote.ended(first.number, input_tokens=10, cached_tokens=None)
    second = await line.start("second")
    assert second.said.startswith("its run waited to begin for 60.0 s")


async def test_a_refusal_arrives_as_it_was() -> None:
    line = Line()
    await line.start("first")
    with pytest.raises(ProxyError) as refused:
        await line.start("second", 3.0)
    assert (refused.value.code, refused.value.status) == ("run_gate_timeout", 503)
    assert refused.value.retry_after_s is not None
    assert line.counted == (1, 0, 1)


async def test_a_call_that_is_cancelled_here_leaves_the_line_there() -> None:
    line = Line()
    await line.start("first")
    second = line.start("second")
    await asyncio.sleep(1)
    assert line.counted == (1, 1, 1)
    second.cancel()
    await asyncio.sleep(1)
    assert line.counted == (1, 0, 1)


@pytest.mark.parametrize("turns", range(1, 9))
async def test_a_call_that_is_cancelled_in_any_moment_leaves_nothing_behind(turns: int) -> None:
    line = Line()
    call = line.start("r")
    for _ in range(turns):
        await asyncio.sleep(SOON_S / 2)
    call.cancel()
    try:
        given = await call
    except asyncio.CancelledError:
        pass
    else:
        line.remote.ended(given.number, input_tokens=0, cached_tokens=None)
    await asyncio.sleep(1)
    assert line.counted[:2] == (0, 0)
    assert repr(line.clerk) == "Clerk(0 wait, 0 passes)"
    assert repr(line.remote) == "RemoteDesk(0 asked)"


async def test_a_killed_run_makes_room() -> None:
    line = Line()
    given = await line.start("doomed")
    line.remote.killed(given.number)
    await asyncio.sleep(1)
    assert line.counted == (0, 0, 0)


async def test_what_a_dead_worker_had_let_in_and_what_it_waited_for_is_over() -> None:
    line = Line()
    await line.start("in")
    line.start("waits")
    await asyncio.sleep(1)
    line.clerk.close()
    await asyncio.sleep(1)
    assert line.counted == (0, 0, 1), "the run itself counts until it has been idle for long"


async def test_calls_of_a_worker_that_is_alone_are_told_why_they_end() -> None:
    line = Line()
    await line.start("in")
    waits = line.start("waits")
    await asyncio.sleep(1)
    line.remote.close(ProxyError("shutting_down", "The gate is stopping."))
    with pytest.raises(ProxyError, match="stopping"):
        await waits
