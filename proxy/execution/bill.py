"""From what is known of an attempt at its end to what it is charged, and to what is learnt from it.

Gathers; what an ending costs is decided by `policies.settle`. Limits in tokens and limits in money can have held
different amounts for the same attempt, so a charge for "all that was held" is found for each of them.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from policies import budget, prompt_cache, service_tier
from policies.budget import Allowance
from policies.estimate import SAID_ONCE, Expected, Sample, has_a_pace
from policies.settle import Ending, Evidence, usage
from pricing.book import cost_usd_nanos
from pricing.gpu import GpuShare
from proxy.execution.reading import Reading
from proxy.types import Amounts, Call, Target, Usage

GUARD_S: Final = 0.25  # how much of a target's speed `guard_tokens` is


class Facts(Struct, frozen=True):
    """One attempt at its end. `output_seen`: tokens relayed, by the meter."""

    call: Call
    target: Target
    expected: Expected
    held: Allowance | None
    reading: Reading | None
    output_seen: int
    age_s: float = 0.0  # since it was begun
    share: GpuShare | None = None  # of the time of an engine of one's own
    streamed: bool = False  # the upstream was asked for a stream

    @property
    def reported(self) -> Usage | None:
        if self.reading is None:
            return None
        source = self.reading.passage or self.reading.reply
        return None if source is None else source.usage

    @property
    def sold(self) -> Target:
        """At the price of the tier that was served."""
        return service_tier.charged(self.target, self.tier) if self.target.tiers else self.target

    @property
    def tier(self) -> str | None:
        """Of service, as the upstream says it was served."""
        source = self.reading and (self.reading.passage or self.reading.reply)
        return source.tier if source else None

    @property
    def output_least(self) -> int:
        """Tokens that were relayed for certain: as many as events. Where a text is said again when it ends, none."""
        if self.call.endpoint not in SAID_ONCE:
            return 0
        passage = self.reading.passage if self.reading is not None else None
        return self.output_seen if passage is None else min(self.output_seen, passage.events)


def output_seen(reading: Reading | None, expected: Expected) -> int:
    """Output tokens that were relayed, by what is known of the target's bytes."""
    if reading is None:
        return 0
    passage, reply = reading.passage, reading.reply
    if passage is None:
        return 0 if reply is None else (reply.text_bytes + 3) // 4
    rate = expected.tokens_per_byte
    return passage.output_tokens_seen() if rate is None else round(passage.relayed * rate)


def output_unread(reading: Reading) -> int:
    """Output tokens that had come when the reply was closed, and that nobody took: made at the rate of those before."""
    passage = reading.passage
    if passage is None or not passage.relayed:
        return 0
    return round(reading.unread * passage.output_tokens_seen() / passage.relayed)


def evidence(facts: Facts, ending: Ending, counted: int | None) -> Evidence:
    reading, held, traits = facts.reading, facts.held, facts.target.traits
    passage = reading.passage if reading is not None else None
    guard = 0
    if held is not None and ending != "complete":
        # Nobody saw what a plain answer had become: it was made for as long as it took, at the target's speed.
        lengths = 1 if passage is not None or facts.streamed else ceil(facts.age_s / GUARD_S)
        guard = min(facts.expected.guard_tokens * lengths, max(0, held.output_max - facts.output_seen))
    return Evidence(  # no more than fourteen by name: see `Outcome` in `finish`
        ending,
        facts.reported,
        running=ending != "complete" and passage is not None and not passage.finished,
        input_estimate=facts.expected.input_tokens,
        input_held=held.input_tokens if held is not None else 0,
        output_seen=facts.output_seen,
        output_least=facts.output_least,
        counted_output=counted,
        watched=passage is not None or reading is None or facts.call.head.stream,
        held_output=held.output_charged if held is not None else 0,
        guard=guard,
        choices=facts.call.head.choices,
        context_tokens=traits.context_tokens,
        output_tokens_max=traits.output_tokens_max,
        abort=traits.abort,
        cut=reading is not None and reading.cut_short,
    )


def to_bill(facts: Facts, ending: Ending, counted: int | None) -> Usage | None:
    """The tokens to bill, or None when nothing was billed."""
    found = usage(evidence(facts, ending, counted))
    if found is not None and found.input_cache_write_5m:
        found = prompt_cache.billed(found, facts.call)
    if found is None or not facts.target.tiers or not service_tier.unknown(facts.target, facts.tier):
        return found
    return replace(found, flags=(*found.flags, service_tier.UNKNOWN))


def cost(facts: Facts, billed: Usage | None) -> int | None:
    """Nano-dollars, at the tier that was served; None: the target has no price. Time that an engine of one's own spent
    is never given back."""
    if facts.share is not None:
        return facts.share.cost_usd_nanos
    if billed is None:
        return 0
    price = facts.sold.price
    if price is None:
        return None
    found = cost_usd_nanos(billed, price)
    return max(found, facts.held.amounts.usd_nanos) if "held" in billed.flags and facts.held is not None else found


def spent(facts: Facts, billed: Usage | None, usd_nanos: int | None) -> Amounts:
    if billed is None:
        return Amounts(usd_nanos or 0)
    tokens = billed.input_total + billed.output_total
    if "held" in billed.flags and facts.held is not None:
        tokens = min(tokens, max(facts.held.amounts.tokens, billed.input_total + facts.output_seen))
    return Amounts(usd_nanos or 0, tokens)


def exposure_usd_nanos(facts: Facts, billed: Usage | None) -> int:
    """Where nobody knows what a provider did after the close, it may have gone on to the limit it was told."""
    if billed is None or facts.held is None or "held" not in billed.flags or facts.share is not None:
        return 0
    return budget.exposure_usd_nanos(facts.held, facts.target)


def sample(facts: Facts, ending: Ending, billed: Usage | None, *, stream_s: float) -> Sample | None:
    """What is to be learnt. Estimates and odd figures teach nothing. `stream_s` 0: it was no stream."""
    if billed is None or billed.source == "estimated" or billed.flags:
        return None
    passage = facts.reading.passage if facts.reading is not None else None
    stream_bytes = passage.relayed if passage is not None and stream_s and has_a_pace(facts.call) else 0
    return Sample(billed, ending == "complete", stream_bytes, facts.output_seen, stream_s)
