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
from tests.economics.market import Answer, Ask, Market, market
from tests.economics.row import Row, at_least, at_most, dollars, shown
from tests.economics.vendor import BYTES_A_TOKEN, CACHED_PART, Asked, Message, Said, Tariff, Vendor

SEED = 6
CALLS_A_DAY = 6_000_000
RUNS, STEPS = 400, 10  # of which the answers of every known one are in the cache
KNOWN_RUNS = 140  # 35 %
NEW_RUNS = RUNS - KNOWN_RUNS
INPUT, OUTPUT, SHARED = 2_100, 1_000, 1_920  # tokens
HARD = 5  # of a hard run's steps, its last ones; every other run is hard, so 25 % of all steps are
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
    sticky: bool = False  # calls say which run is theirs, so it stays in its region, and with the model it needs


class Seen(Struct, frozen=True):
    usd_a_day: float
    ledger_apart: int  # nano-dollars between the gate's ledger and the vendors' bills
    useful: float  # share of calls whose answer is good
    large: float  # share of the calls that nobody knew the answer to: those that the large model answered


WAYS = (
    Way("all calls to the large model", cascade=False, keeps_answers=False),
    Way("+ answer cache, 35 % known", cascade=False),
    Way("+ cascade, 25 % escalate"),
    Way("+ the vendor's prompt cache, runs spread over two regions", prompt_cache=True),
    Way("+ runs that stay with region and model", prompt_cache=True, sticky=True),
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
            yield shown("  of the calls that were not known, answered by the large model", f"{seen.large:.1%}")
        yield at_least("  share of calls with a good answer", seen.useful, 1.0)
        yield at_most("  nano-dollars between the gate's ledger and the vendors' bills", seen.ledger_apart, 0, digits=0)
    yield at_most("the whole, of the reference's best", best / reference, 1.0)


# --- arithmetic ------------------------------------------------------------------------------------------------------

_LOOKUPS = CALLS_A_DAY * INPUT * EMBEDDING_USD / 1e6
_NEW_CALLS = CALLS_A_DAY * NEW_RUNS / RUNS
_LARGE_CALL, _SMALL_CALL = ((INPUT * tariff.input_usd + OUTPUT * tariff.output_usd) / 1e6 for tariff in (LARGE, SMALL))
_ESCALATING = HARD / STEPS / 2
REFERENCE: Mapping[str, float] = {
    WAYS[0].name: CALLS_A_DAY * _LARGE_CALL,
    WAYS[1].name: _NEW_CALLS * _LARGE_CALL + _LOOKUPS,
    WAYS[2].name: _NEW_CALLS * (_SMALL_CALL + _ESCALATING * _LARGE_CALL) + _LOOKUPS,
}


def predicted(way: Way) -> float:
    """USD a day."""
    runs = (_NEW_CALLS if way.keeps_answers else CALLS_A_DAY) / STEPS
    if not way.cascade:
        return runs * _usd(LARGE, way, STEPS)
    # A hard run that stays has asked the small model for its first hard step and for none behind it.
    small_of_hard = STEPS - HARD + 1 if way.sticky else STEPS
    plain, hard = _usd(SMALL, way, STEPS), _usd(SMALL, way, small_of_hard) + _usd(LARGE, way, HARD)
    return runs * (plain + hard) / 2


def _usd(tariff: Tariff, way: Way, calls: int) -> float:
    """Of so many calls of one run for one model."""
    unread = 1.0 if way.sticky else _spread(calls)
    read = (calls - unread) * SHARED * (1 - 1 / CACHED_PART) if way.prompt_cache else 0.0
    return ((calls * INPUT - read) * tariff.input_usd + calls * OUTPUT * tariff.output_usd) / 1e6


def _spread(calls: int) -> float:
    """Of so many calls that each go to any region, those whose prompt is not in its cache."""
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
        return _seen(world, answers)


def _seen(world: Market, answers: Sequence[Answer]) -> Seen:
    calls, new = len(answers), sum(answer.served_by != "cache" for answer in answers)
    return Seen(
        usd_a_day=world.bill / NANOS / calls * CALLS_A_DAY,
        ledger_apart=abs(world.bill - world.ledger),
        useful=sum(answer.text == GOOD for answer in answers) / calls,
        large=world.asked("large") / new,
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
    new = [_run(number) for number in range(runs - known)]
    again = [rng.randrange(len(new)) for _ in range(known)]
    order = [*range(len(new)), *again]
    return [
        [Ask("fleet", messages, f"run-{place}" if way.sticky else "") for messages in new[number]]
        for place, number in enumerate(order)
    ]


def _run(number: int) -> list[tuple[Message, ...]]:
    first = STEPS - HARD if number % 2 else STEPS
    system = Message("system", text_of(f"run {number}", SHARED))
    kinds = ["hard" if step >= first else "plain" for step in range(STEPS)]
    return [
        (system, Message("user", text_of(f"{kind} step {step} of run {number}", INPUT - SHARED)))
        for step, kind in enumerate(kinds)
    ]


def text_of(begins: str, tokens: int) -> str:
    return begins.ljust(tokens * BYTES_A_TOKEN, ".")
