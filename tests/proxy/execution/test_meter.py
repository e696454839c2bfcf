"""When a stream's hold is raised, when the stream is cut, and how seldom anybody looks."""

from __future__ import annotations

from math import inf

import pytest
from msgspec import structs

from policies import budget
from policies.estimate import Expected
from policies.limits import Limit, LimitsByName
from proxy.clock import SystemClock, loop_time
from proxy.dialects.openai_chat import OpenAI
from proxy.errors import ProxyError
from proxy.execution.meter import DOUBT, DOUBT_TOKENS, MARK_GUARDS, STEP_LEAST, STEP_MAX, Meter
from proxy.execution.purse import Purse
from proxy.holds import Left, Reservation
from proxy.types import Amounts, Head, Usage
from tests.build import call, target
from tests.money import WatchedBudgets

EXPECTED = Expected(input_tokens=100, input_margin=100, watched=True, tokens_per_byte=0.01)
CALL = call(head=Head(model="m", stream=True, fields={}, output_tokens_max=4_000))
OPENING = b'data: {"choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'


class Bench:
    """A meter over a stream of which the test says how far it is, and an account with so many tokens."""

    def __init__(self, tokens: int, *, silent: bool = False) -> None:
        limits = LimitsByName({"key:k": (Limit("tokens", tokens),)})
        self.store = WatchedBudgets(SystemClock(1, now=loop_time), limits)
        self.purse = Purse(self.store, "call", ("key:k",), 60.0)
        self.call = structs.replace(CALL, head=structs.replace(CALL.head, output_tokens_max=None)) if silent else CALL
        self.passage = OpenAI().passage(self.call, target())

    async def meter(self, expected: Expected = EXPECTED) -> Meter:
        sized = budget.allowance(self.call, target(), expected, Left(tokens=True))

        def ask(left: Left) -> Amounts:
            return sized.amounts

        assert not isinstance(await self.purse.take(ask), ProxyError)
        self.passage.feed(OPENING)
        return Meter(self.passage, self.purse, target(), allowance=sized, expected=expected)

    @property
    def held(self) -> int:
        return self.store.standing("key:k")[0].held


async def test_nothing_is_raised_below_three_quarters() -> None:
    bench = Bench(10_000)
    meter = await bench.meter()
    bench.passage.relayed = 76_000
    look_at = await meter.look(76_000)
    assert (bench.held, meter.cut) == (100 + 1_024, False)
    assert 76_800 <= look_at < 77_200


async def test_above_it_as_much_again_is_held_up_to_the_limit() -> None:
    bench = Bench(10_000)
    meter = await bench.meter()
    for made, held in ((770, 2_048), (1_540, 3_072), (2_400, 4_000), (3_900, 4_000)):
        bench.passage.relayed = made * 100
        await meter.look(made * 100)
        assert (bench.held, meter.cut) == (100 + held, False)


async def test_what_is_denied_is_asked_for_again_before_the_stream_is_cut() -> None:
    bench = Bench(2_000)
    other = Purse(bench.store, "other", ("key:k",), 60.0)
    meter = await bench.meter()
    part = await other.take(lambda left: Amounts(tokens=800))
    assert isinstance(part, Amounts)
    bench.passage.relayed = 80_000
    await meter.look(80_000)
    assert (bench.held, meter.cut) == (1_124 + 800, False)
    other.give_back(part, Amounts(), sent=False)
    other.close()
    bench.passage.relayed = 101_000
    await meter.look(101_000)
    assert meter.cut, "another 1,024 do not fit, though 876 are free"


async def test_the_cut_comes_a_guard_before_the_end_of_the_hold() -> None:
    bench = Bench(1_200)
    meter = await bench.meter(structs.replace(EXPECTED, guard_tokens=100))
    for made, cut in ((920, False), (930, True)):
        bench.passage.relayed = made * 100
        await meter.look(made * 100)
        assert meter.cut is cut


async def test_a_usage_frame_overrules_the_count_and_corrects_the_rate() -> None:
    bench = Bench(10_000)
    meter = await bench.meter()
    bench.passage.relayed = 10_000
    bench.passage.usage = Usage(input_uncached=10, output=300)
    assert meter.seen() == 300
    bench.passage.relayed = 20_000
    assert meter.seen() == 600


async def test_a_frame_from_the_beginning_does_not_blind_the_meter() -> None:
    bench = Bench(10_000)
    meter = await bench.meter()
    bench.passage.usage = Usage(input_uncached=10, output=0)
    bench.passage.relayed = 50_000
    assert meter.seen() == 500


async def test_past_the_limit_the_count_has_the_benefit_of_the_doubt_and_the_providers_own_figure_has_not() -> None:
    bench = Bench(10_000)
    meter = await bench.meter()
    bench.passage.relayed = 300_000
    for _ in range(3):
        await meter.look(300_000)
    bench.passage.relayed = int((4_000 * DOUBT + DOUBT_TOKENS - 1) * 100)
    await meter.look(bench.passage.relayed)
    assert not meter.cut
    bench.passage.usage = Usage(input_uncached=10, output=4_001)
    await meter.look(bench.passage.relayed)
    assert meter.cut


async def test_a_stream_without_a_limit_is_held_as_it_comes() -> None:
    bench = Bench(100_000, silent=True)
    meter = await bench.meter()
    for made in range(500, 50_000, 500):
        bench.passage.relayed = made * 100
        await meter.look(made * 100)
        assert not meter.cut
        assert bench.held > made


async def test_a_reply_that_is_complete_is_looked_at_no_more() -> None:
    bench = Bench(10_000)
    meter = await bench.meter()
    bench.passage.finished = True
    assert await meter.look(10**9) == inf
    assert not meter.cut


async def test_looks_are_neither_for_each_chunk_nor_too_seldom() -> None:
    bench = Bench(10_000)
    meter = await bench.meter(structs.replace(EXPECTED, tokens_per_byte=0.0001))
    assert meter.look_at == STEP_LEAST
    assert await meter.look(300) == 300 + STEP_MAX
    meter = Meter(bench.passage, bench.purse, target(), allowance=meter.allowance, expected=EXPECTED)
    bench.passage.relayed = 76_700
    assert await meter.look(76_700) == 76_700 + STEP_LEAST


async def test_input_beyond_the_hold_is_asked_for_once_and_once_more_before_the_cut() -> None:
    bench = Bench(1_300)
    meter = await bench.meter(structs.replace(EXPECTED, guard_tokens=100))
    bench.passage.usage = Usage(input_uncached=400, output=10)
    bench.passage.relayed = 1_000
    await meter.look(1_000)
    assert (bench.held, meter.cut) == (1_124, False)
    bench.passage.usage = Usage(input_uncached=400, output=624)
    await meter.look(62_400)
    assert meter.cut, "1,024 of output less 300 of input that is not held, less the guard"


class Marking(WatchedBudgets):
    """Notes marks."""

    def __init__(self, limits: LimitsByName) -> None:
        super().__init__(SystemClock(1, now=loop_time), limits)
        self.marks: list[Amounts] = []

    def mark(self, reservation: Reservation, reached: Amounts) -> None:
        self.marks.append(reached)


@pytest.mark.parametrize("guard", [16, 100])
async def test_what_was_relayed_is_never_more_than_was_marked(guard: int) -> None:
    bench = Bench(100_000)
    store = bench.store = Marking(LimitsByName({"key:k": (Limit("tokens", 100_000),)}))
    bench.purse = Purse(store, "call", ("key:k",), 60.0)
    meter = await bench.meter(structs.replace(EXPECTED, guard_tokens=guard))
    meter.marks = True
    look_at = meter.look_at
    for relayed in range(0, 390_000, 60):
        bench.passage.relayed = relayed
        if relayed >= look_at:
            look_at = await meter.look(relayed)
        if store.marks:
            made, marked = relayed / 100, store.marks[-1].tokens - 100  # less the input
            assert min(made + guard - 1, bench.held - 100) <= marked <= made + 5 * guard + 10
            assert made <= marked
    assert not meter.cut
    assert len(store.marks) <= 3_900 / (MARK_GUARDS * guard) + 12


async def test_nothing_is_marked_where_a_closed_connection_does_not_end_the_bill() -> None:
    bench = Bench(100_000)
    store = bench.store = Marking(LimitsByName({"key:k": (Limit("tokens", 100_000),)}))
    bench.purse = Purse(store, "call", ("key:k",), 60.0)
    meter = await bench.meter()
    for relayed in range(1_000, 300_000, 1_000):
        bench.passage.relayed = relayed
        await meter.look(relayed)
    assert store.marks == []
