"""Calls before gates: every pass is counted once and comes back once, whatever happens in which moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from policies.gate_line import Ask
from policies.run_gate import GateRules
from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.execution.gate_desk import ANSWER_S, GateDesk, Pass, Pool
from proxy.tasks import Tasks

IDLE_S = 60.0
LONG_S = 1_000.0


class Told:
    def __init__(self) -> None:
        self.pools: list[str] = []
        self.waits: list[float] = []

    def watch(self, pools: Iterable[str], gates: GateDesk) -> None:
        self.pools = list(pools)

    def ended(self, pool: str, waited_s: float) -> None:
        self.waits.append(round(waited_s, 3))


def pool(name: str = "m", runs: int = 1, **rules: int) -> Pool:
    return Pool(name, frozenset({f"up/{name}"}), runs * 60_000, GateRules(share=1.0, idle_s=IDLE_S, **rules))


def ask(run: str, *above: str) -> Ask:
    return Ask(run, "a", 2, 10, above=above)


class Desk:
    """A desk, and calls that stand before it."""

    def __init__(self, *pools: Pool) -> None:
        self.told = Told()
        self.tasks = Tasks(lambda name, error: None)
        self.desk = GateDesk(pools, SystemClock(now=loop_time), self.told)

    def start(self, run: str, left_s: float = LONG_S, at: str = "m", tier: int = 2) -> asyncio.Task[Pass]:
        return asyncio.ensure_future(self.desk.enter(at, Ask(run, "a", tier, 10), left_s))  # noqa: TID251

    def end(self, given: Pass, tokens: int = 10) -> None:
        self.desk.ended(given.number, input_tokens=tokens, cached_tokens=None)

    @property
    def calls(self) -> int:
        """That a gate thinks go on, or wait."""
        gate = self.desk._gates["m"]
        return sum(run.calls for run in gate._active.values()) + gate.waiting


async def test_a_pool_without_a_gate_lets_everybody_in() -> None:
    here = Desk()
    assert await here.desk.enter("m", ask("r"), 1.0) == Pass(0)
    here.desk.ended(0, input_tokens=1, cached_tokens=None)


async def test_a_pass_comes_back_once() -> None:
    here = Desk(pool())
    given = await here.start("r")
    assert here.calls == 1
    here.end(given)
    here.end(given)
    here.desk.killed(given.number)
    assert (here.calls, here.desk.passes) == (0, 0)


async def test_whoever_waited_goes_on_when_the_time_of_an_idle_run_is_up_without_any_other_call() -> None:
    here = Desk(pool())
    here.end(await here.start("first"))
    given = await here.start("second")
    assert given.said == "its run waited to begin for 60.0 s at the gate of 'm'"
    assert here.told.waits == [60.0]


async def test_a_wait_ends_a_little_before_the_calls_time_is_up() -> None:
    here = Desk(pool())
    await here.start("first")
    with pytest.raises(ProxyError) as refused:
        await here.start("second", left_s=5.0)
    assert refused.value.code == "run_gate_timeout"
    assert here.told.waits == [5.0 - ANSWER_S]
    assert here.calls == 1


async def test_a_call_that_could_only_wait_in_vain_is_told_at_once() -> None:
    here = Desk(pool())
    for number in range(3):
        here.end(await here.start(f"r{number}"))
    standing = [here.start(f"s{number}") for number in range(4)]
    given = await standing[0]
    here.end(given)
    here.end(await standing[1])
    began = loop_time()
    with pytest.raises(ProxyError) as refused:
        await here.start("late", left_s=100.0)
    assert loop_time() == began
    assert refused.value.retry_after_s == pytest.approx(120.0), "two before it, one goes in a minute"
    here.end(await standing[2])
    here.end(await standing[3])


async def test_too_many_are_turned_away_and_counted() -> None:
    here = Desk(pool(waiting_max=1))
    await here.start("in")
    waits = here.start("waits")
    await asyncio.sleep(0)
    with pytest.raises(ProxyError, match="1 calls wait"):
        await here.start("late")
    assert here.desk.turned_away == 1
    waits.cancel()


async def test_a_call_that_is_cancelled_while_it_waits_leaves_and_lets_others_past() -> None:
    here = Desk(pool(runs=2))
    await here.start("in")
    large = asyncio.ensure_future(  # noqa: TID251
        here.desk.enter("m", Ask("large", "a", 2, 100_000), LONG_S)
    )
    await asyncio.sleep(0)
    small = here.start("small")
    await asyncio.sleep(1)
    assert not small.done(), "it would fit, but stands behind another"
    large.cancel()
    assert (await small).number > 0
    assert here.calls == 2


async def test_a_call_that_is_cancelled_just_when_its_turn_comes_gives_it_back() -> None:
    here = Desk(pool())
    first = await here.start("first")
    second, third = here.start("second"), here.start("third")
    await asyncio.sleep(0)
    here.desk.killed(first.number)  # the second one may go on from here, and has yet to hear of it
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert here.calls == 1, "the one that waits"
    await third
    assert (here.calls, here.told.waits[-1]) == (1, IDLE_S)


async def test_a_call_that_was_cancelled_just_before_its_turn_comes_is_not_counted() -> None:
    here = Desk(pool())
    first = await here.start("first")
    second = here.start("second")
    await asyncio.sleep(0)
    second.cancel()
    here.desk.killed(first.number)  # before the second one could leave
    with pytest.raises(asyncio.CancelledError):
        await second
    assert here.calls == 0


async def test_a_parked_run_is_told_so() -> None:
    here = Desk(pool(runs=2))
    runs = {}
    for name in ("far", "near"):
        runs[name] = await here.start(name)
    for _ in range(3):
        here.end(runs["far"], 70_000)
        runs["far"] = await here.start("far")
    here.end(runs["near"], 90_000)
    parked = here.start("near")
    await asyncio.sleep(0)
    assert (here.desk.rows()[0].parked, here.desk.runs("m", "parked")) == (1, 1)
    here.end(runs["far"])
    assert (await parked).said.startswith("its run was parked for 60.0 s")


async def test_a_gate_that_goes_and_comes_again_begins_anew_and_old_passes_do_it_no_harm() -> None:
    here = Desk(pool())
    old = await here.start("r")
    waits = here.start("w")
    await asyncio.sleep(0)
    here.desk.use([])
    freed = await waits
    here.desk.use([pool()])
    here.end(old)
    here.end(freed)
    assert (here.calls, here.desk.passes) == (0, 0)
    assert here.told.pools == ["m"]


async def test_more_room_is_used_at_once() -> None:
    here = Desk(pool())
    await here.start("in")
    waits = here.start("waits")
    await asyncio.sleep(1)
    here.desk.use([pool(runs=2)])
    await waits
    assert here.told.waits == [1.0]


async def test_two_runs_that_were_let_in_at_one_gate_each_do_not_wait_for_each_other() -> None:
    here = Desk(pool("m"), pool("n"))
    here.end(await here.start("a", at="m"))
    here.end(await here.start("b", at="n"))
    assert (await here.start("a", at="n")).said == ""
    assert (await here.start("b", at="m")).said == ""
    assert [row.active for row in here.desk.rows()] == [2, 2], "they count at both"


async def test_a_run_that_is_let_in_at_one_gate_while_it_waits_at_another_waits_no_more() -> None:
    here = Desk(pool("m"), pool("n"))
    await here.start("first", at="m")
    await here.start("second", at="n")
    waits = here.start("a", at="n")
    await asyncio.sleep(1)
    assert not waits.done()
    await here.start("a", at="m", tier=0)
    assert (await waits).said == "its run waited to begin for 1.0 s at the gate of 'n'"


async def test_calls_that_wait_go_on_with_a_critical_one_of_their_run() -> None:
    here = Desk(pool())
    await here.start("first")
    waits = here.start("a")
    await asyncio.sleep(1)
    await here.start("a", tier=0)
    assert (await waits).said == "its run waited to begin for 1.0 s at the gate of 'm'"
    assert here.calls == 3


async def test_a_run_whose_place_elsewhere_is_long_unused_waits() -> None:
    here = Desk(pool("m"), pool("n"))
    here.end(await here.start("a", at="m"))
    await asyncio.sleep(IDLE_S)
    await here.start("b", at="n")
    waits = here.start("a", at="n")
    await asyncio.sleep(1)
    assert not waits.done()
    waits.cancel()


async def test_runs_that_were_killed_between_two_calls_make_room_at_every_gate() -> None:
    here = Desk(pool("m"), pool("n"))
    for name in ("m", "n"):
        here.end(await here.start("doomed", at=name))
    waits = [here.start("a", at="m"), here.start("b", at="n")]
    await asyncio.sleep(1)
    here.desk.over(frozenset(["doomed"]))
    assert [(await each).number > 0 for each in waits] == [True, True]
    assert here.told.waits == [1.0, 1.0]


async def test_rows_and_figures_say_how_a_gate_stands() -> None:
    here = Desk(pool(), Pool("n", frozenset(), None, GateRules()))
    await here.start("in")
    waits = here.start("waits")
    await asyncio.sleep(0)
    known, counted = here.desk.rows()
    assert (known.unit, known.active, known.in_use, known.limit, known.share) == ("tokens", 1, 60_000, 60_000, 1.0)
    assert (known.waiting, known.parked, known.calls, known.cached_share) == (1, 0, 1, None)
    assert (counted.unit, counted.limit, counted.share) == ("runs", 32, None)
    desk = here.desk
    assert (desk.runs("m", "active"), desk.runs("m", "waiting"), desk.in_use("m"), desk.limit("m")) == (1, 1, 6e4, 6e4)
    assert (desk.runs("x", "active"), desk.in_use("x"), desk.limit("x")) == (0, 0, 0)
    assert "1 go on" in repr(desk)
    waits.cancel()
