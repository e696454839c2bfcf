"""A fleet at $127,800 a day: what an answer cache, a cascade, the vendor's prompt cache and sticky runs make of it.

The reference names sums alone. They are those of 6 million calls a day of 2,100 tokens in and 1,000 out, at $3 and $15
a million (2.13 cents a call); of a small model at $0.15 and $0.60 (0.0915 cents, 4.3 % of it); of 35 % of the calls
answered from a cache that is asked by an embedding at $0.10 a million; and of 25 % escalations:

    all large     6 M x 0.0213                                                $127,800
    + cache       0.65 x 127,800 + 6 M x 0.00021 of embeddings                 $84,330   -34 %
    + cascade     0.65 x 6 M x (0.000915 + 0.25 x 0.0213) + 1,260              $25,596   -80 %

The gate's exact cache needs no embedding, so it is $1,260 cheaper. Of each prompt 1,920 tokens are those of its run
(91 %, as of recorded agents), which a vendor's cache sells at a tenth. One call in 1,500 is made; the sums are of a
day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from msgspec import Struct

from proxy.config.tree import Value
from tests.economics.market import Ask, Market, market
from tests.economics.row import Row, at_least, at_most, dollars, shown
from tests.economics.vendor import BYTES_A_TOKEN, CACHED_PART, Asked, Message, Said, Tariff, Vendor

SEED = 6
CALLS_A_DAY = 6_000_000
RUNS, STEPS = 400, 10  # of which the answers of every known one are in the cache
KNOWN_RUNS = 140  # 35 %
NEW_RUNS = RUNS - KNOWN_RUNS
INPUT, OUTPUT, SHARED = 2_100, 1_000, 1_920  # tokens
HARD_STEPS = 2.5  # of a run's ten, one after the other: two in every other run, three in the others
LARGE, SMALL = Tariff(3, 15), Tariff(0.15, 0.60)
EMBEDDING_USD = 0.10  # a million tokens; the reference's cache
TARIFFS: Mapping[str, Tariff] = {"large": LARGE, "small": SMALL}
REGIONS = ("east", "west")  # of one vendor; each with a prompt cache of its own
GOOD, BAD = '{"done": true}', "I think that"  # what a small model says of a hard question is no JSON

NANOS = 1e9


class Way(Struct, frozen=True):
    """One row: how the fleet is served."""

    name: str
    cascade: bool = True
    keeps_answers: bool = True
    prompt_cache: bool = False
    sticky: bool = False  # calls say which run is theirs


class Seen(Struct, frozen=True):
    usd_a_day: float
    ledger_apart: int  # nano-dollars between the gate's ledger and the vendors' bills
    useful: float  # share of calls whose answer is good
    escalated: float  # share of the calls for which a small model was asked


WAYS = (
    Way("all calls to the large model", cascade=False, keeps_answers=False),
    Way("+ answer cache, 35 % known", cascade=False),
    Way("+ cascade, 25 % escalate"),
    Way("+ the vendor's prompt cache, runs spread over two regions", prompt_cache=True),
    Way("+ runs that stay in their region", prompt_cache=True, sticky=True),
)


def rows(folder: Path | None = None) -> Iterator[Row]:
    """The recorded traffic says nothing here: it has no prices and no equal questions."""
    first = reference = predicted(WAYS[0])
    best = 0.0
    for way in WAYS:
        seen = asyncio.run(lived(way))
        best = seen.usd_a_day
        yield dollars(f"{way.name}, a day", seen.usd_a_day, predicted(way))
        yield shown("  saved", f"{1 - seen.usd_a_day / first:.1%}")
        if way.name in REFERENCE:
            reference = REFERENCE[way.name]
            yield dollars("  beside the reference", seen.usd_a_day, reference)
        if way.cascade:
            yield shown("  of the small model's answers not accepted", f"{seen.escalated:.1%}")
        yield at_least("  share of calls with a good answer", seen.useful, 1.0)
        yield at_most("  nano-dollars between the gate's ledger and the vendors' bills", seen.ledger_apart, 0, digits=0)
    yield at_most("the whole, of the reference's best", best / reference, 1.0)


# --- arithmetic ------------------------------------------------------------------------------------------------------

_LOOKUPS = CALLS_A_DAY * INPUT * EMBEDDING_USD / 1e6
_NEW_CALLS = CALLS_A_DAY * NEW_RUNS / RUNS
_LARGE_CALL, _SMALL_CALL = ((INPUT * tariff.input_usd + OUTPUT * tariff.output_usd) / 1e6 for tariff in (LARGE, SMALL))
_ESCALATING = HARD_STEPS / STEPS
REFERENCE: Mapping[str, float] = {
    WAYS[0].name: CALLS_A_DAY * _LARGE_CALL,
    WAYS[1].name: _NEW_CALLS * _LARGE_CALL + _LOOKUPS,
    WAYS[2].name: _NEW_CALLS * (_SMALL_CALL + _ESCALATING * _LARGE_CALL) + _LOOKUPS,
}


def predicted(way: Way) -> float:
    """USD a day."""
    calls = _NEW_CALLS if way.keeps_answers else CALLS_A_DAY
    large = _call_usd(LARGE, way, asked=(2, 3)) if way.cascade else _call_usd(LARGE, way, asked=(STEPS,))
    if not way.cascade:
        return calls * large
    return calls * (_call_usd(SMALL, way, asked=(STEPS,)) + _ESCALATING * large)


def _call_usd(tariff: Tariff, way: Way, *, asked: Sequence[int]) -> float:
    """`asked`: calls of a run for this model, each as often as the other."""
    known = 1 - sum(map(_unread, asked)) / sum(asked) if way.sticky else 1 - sum(map(_spread, asked)) / sum(asked)
    read = known * SHARED if way.prompt_cache else 0.0
    return ((INPUT - read * (1 - 1 / CACHED_PART)) * tariff.input_usd + OUTPUT * tariff.output_usd) / 1e6


def _unread(calls: int) -> float:
    """Of so many calls in one place, those whose prompt is not in its cache."""
    return 1.0


def _spread(calls: int) -> float:
    """The same where each of them goes to any region."""
    count = len(REGIONS)
    return count * (1 - (1 - 1 / count) ** calls)


# --- what happens ----------------------------------------------------------------------------------------------------


async def lived(way: Way, runs: int = RUNS) -> Seen:
    """A part of a day, on sockets."""
    asked = timetable(way, runs)
    vendors = {name: Vendor(TARIFFS, says, caches=way.prompt_cache) for name in REGIONS}
    async with market(vendors, _models(way), TARIFFS, keeps_answers=way.keeps_answers) as world:
        answers = [answer for run in await world.play(asked) for answer in run]
        await world.written()
        return _seen(world, len(answers), sum(answer.text == GOOD for answer in answers))


def _seen(world: Market, calls: int, useful: int) -> Seen:
    small = world.asked("small")
    return Seen(
        usd_a_day=world.bill / NANOS / calls * CALLS_A_DAY,
        ledger_apart=abs(world.bill - world.ledger),
        useful=useful / calls,
        escalated=world.asked("large") / small if small else 0.0,
    )


def _models(way: Way) -> Mapping[str, Value]:
    """By weight: both regions are needed, so neither may have all the calls."""
    placed: dict[str, Value] = {
        model: {"targets": [f"{name}/{model}" for name in REGIONS], "balance": "weighted"} for model in TARIFFS
    }
    if way.cascade:
        return placed | {"fleet": {"mode": "cascade", "steps": ["small", "large"]}}
    return placed | {"fleet": placed["large"]}


def says(asked: Asked) -> Said:
    hard = asked.messages[-1].content.startswith("hard") and asked.model == "small"
    return Said(BAD if hard else GOOD, OUTPUT)


def timetable(way: Way, runs: int = RUNS) -> list[list[Ask]]:
    """New runs, and among them, once they are over, those that ask the same again."""
    rng = Random(SEED)
    known = runs * KNOWN_RUNS // RUNS
    new = [_run(number, Random(f"{SEED}/{number}")) for number in range(runs - known)]
    again = [rng.randrange(len(new)) for _ in range(known)]
    order = [*range(len(new)), *again]
    return [
        [Ask("fleet", messages, f"run-{place}" if way.sticky else "") for messages in new[number]]
        for place, number in enumerate(order)
    ]


def _run(number: int, rng: Random) -> list[tuple[Message, ...]]:
    hard = 2 + number % 2
    first = rng.randrange(STEPS - hard + 1)
    system = Message("system", text_of(f"run {number}", SHARED))
    kinds = ["hard" if first <= step < first + hard else "plain" for step in range(STEPS)]
    return [
        (system, Message("user", text_of(f"{kind} step {step} of run {number}", INPUT - SHARED)))
        for step, kind in enumerate(kinds)
    ]


def text_of(begins: str, tokens: int) -> str:
    return begins.ljust(tokens * BYTES_A_TOKEN, ".")
