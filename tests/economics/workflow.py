"""A workflow of premium calls one after another, and what it costs once it is short, routed, cached and retried.

The reference names success and quality for a dollar, which is success / USD. They are those of a premium call at
3 cents (2,500 tokens in, 1,500 out, $3 and $15 a million) that is right in 98.5 %, of a small one at 0.2 cents ($0.20
and $1) that is right in 95.5 %, of 36 % of the steps known already, and of one more try where an answer is no answer:

    one premium call          0.985                        / 0.030     33
    12 premium steps          0.985^12 = 0.834             / 0.360      2.3
    6 premium steps           0.985^6  = 0.913             / 0.180      5.1
    + routed to small         0.955^6  = 0.759             / 0.0120    63
    + cached                  0.759                        / 0.00768   99
    + retried                 (1 - 0.045^2)^6 = 0.988      / 0.00803  123

What a model gets wrong can be seen: it is no JSON, which was asked for. A workflow is right if all its steps are. Of
each prompt 2,304 tokens are the workflow's own text; the last row reads them from the vendor's prompt cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from msgspec import Struct

from proxy.config.tree import Value
from tests.economics.fleet import BAD, GOOD, NANOS, text_of
from tests.economics.market import Answer, Ask, market
from tests.economics.row import Row, at_least, at_most, near
from tests.economics.vendor import CACHED_PART, Asked, Message, Said, Tariff, Vendor

SEED = 12
WORKFLOWS = 800
INPUT, OUTPUT, SHARED = 2_500, 1_500, 2_304  # tokens
KNOWN = 0.36  # of the steps: a workflow before it took the same
BEHIND = 40  # workflows; what one of the last so many asks may not be answered yet
TARIFFS: Mapping[str, Tariff] = {"premium": Tariff(3, 15), "small": Tariff(0.20, 1)}
WRONG: Mapping[str, float] = {"premium": 0.015, "small": 0.045}


class Way(Struct, frozen=True):
    name: str
    steps: int
    model: str = "premium"
    cached: bool = False
    retried: bool = False
    prompt_cache: bool = False


class Seen(Struct, frozen=True):
    right: float  # share of the workflows
    usd: float  # each
    ledger_apart: int  # nano-dollars

    @property
    def quality_a_dollar(self) -> float:
        return self.right / self.usd


WAYS = (
    Way("one premium call", 1),
    Way("12 premium steps, one after another", 12),
    Way("6 premium steps", 6),
    Way("6 steps, routed to a small model", 6, "small"),
    Way("6 steps, routed and cached", 6, "small", cached=True),
    Way("6 steps, routed, cached and retried", 6, "small", cached=True, retried=True),
    Way("the same, with the vendor's prompt cache", 6, "small", cached=True, retried=True, prompt_cache=True),
)
REFERENCE: Mapping[str, tuple[float, float]] = {  # success, quality a dollar
    WAYS[0].name: (0.985, 33),
    WAYS[1].name: (0.83, 2.3),
    WAYS[5].name: (0.988, 123),
}


def rows(folder: Path | None = None) -> Iterator[Row]:
    """The recorded traffic says nothing here."""
    seen = Seen(0.0, 1.0, 0)
    for way in WAYS:
        seen = asyncio.run(lived(way))
        right, usd = predicted(way)
        yield near(f"{way.name}: workflows that are right, %", 100 * seen.right, 100 * right)
        yield near(f"{way.name}: cost of each, cents", 100 * seen.usd, 100 * usd, shown_as="{:.3f}")
        yield near(f"{way.name}: quality for a dollar", seen.quality_a_dollar, right / usd)
        if way.name in REFERENCE:
            yield near("  beside the reference: right, %", 100 * seen.right, 100 * REFERENCE[way.name][0])
            yield near("  beside the reference: quality for a dollar", seen.quality_a_dollar, REFERENCE[way.name][1])
        yield at_most("  nano-dollars between the gate's ledger and the vendor's bill", seen.ledger_apart, 0, digits=0)
    yield at_least("the whole: quality for a dollar, against the reference's 123", seen.quality_a_dollar, 123, digits=1)


def predicted(way: Way) -> tuple[float, float]:
    """The share that is right, and USD a workflow."""
    tariff, wrong = TARIFFS[way.model], WRONG[way.model]
    read = INPUT - (SHARED * (1 - 1 / CACHED_PART) if way.prompt_cache else 0)
    call = (read * tariff.input_usd + OUTPUT * tariff.output_usd) / 1e6
    tries = 1 + wrong if way.retried else 1.0
    left = wrong**2 if way.retried else wrong
    return (1 - left) ** way.steps, way.steps * call * tries * (1 - KNOWN if way.cached else 1)


# --- what happens ----------------------------------------------------------------------------------------------------


async def lived(way: Way, workflows: int = WORKFLOWS) -> Seen:
    """So many workflows, on sockets."""
    vendor = Vendor(TARIFFS, says, caches=way.prompt_cache)
    async with market({"vendor": vendor}, models(way), TARIFFS, keeps_answers=way.cached) as world:
        answers = await world.play(timetable(way, workflows))
        await world.written()
        return Seen(
            right=sum(map(is_right, answers)) / workflows,
            usd=world.bill / NANOS / workflows,
            ledger_apart=abs(world.bill - world.ledger),
        )


def is_right(answers: list[Answer]) -> bool:
    return all(answer.text == GOOD for answer in answers)


def models(way: Way) -> Mapping[str, Value]:
    """A retry is a cascade of a model and itself: its answer is looked at, and asked for once more."""
    placed: dict[str, Value] = {model: f"vendor/{model}" for model in TARIFFS}
    if way.retried:
        return placed | {"step": {"mode": "cascade", "steps": [way.model, f"vendor/{way.model}"]}}
    return placed | {"step": f"vendor/{way.model}"}


def says(asked: Asked) -> Said:
    """Each question is drawn for itself, and anew each time it is asked."""
    drawn = Random(f"{SEED}/{asked.model}/{asked.messages[-1].content[:64]}/{asked.time}").random()
    return Said(BAD if drawn < WRONG[asked.model] else GOOD, OUTPUT)


def timetable(way: Way, workflows: int = WORKFLOWS) -> list[list[Ask]]:
    """Of all steps the share `KNOWN` was taken by an earlier workflow, whichever they are."""
    rng = Random(SEED)
    places = [(number, step) for number in range(BEHIND, workflows) for step in range(way.steps)]
    known = set(rng.sample(places, round(KNOWN * workflows * way.steps))) if len(places) > way.steps else set()
    source: dict[tuple[int, int], int] = {}
    for number in range(workflows):
        for step in range(way.steps):
            place = number, step
            before = rng.randrange(number - BEHIND + 1) if place in known else number
            source[place] = source.get((before, step), number) if place in known else number
    return [[_ask(source[number, step], step) for step in range(way.steps)] for number in range(workflows)]


def _ask(number: int, step: int) -> Ask:
    system = Message("system", text_of("the workflow's own text", SHARED))
    asked = Message("user", text_of(f"step {step} of workflow {number}", INPUT - SHARED))
    return Ask("step", (system, asked))
