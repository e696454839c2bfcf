"""One stream against its hold: how much of it has been made, when to hold more, and when to cut it.

Output is counted by bytes, at the rate learnt for the target; a usage frame overrules the count and corrects the rate.
An engine that puts several tokens into an event under load takes fewer bytes a token than it does at rest, so the count
may be several times too high: a reply of which the whole limit is held is cut when its events are past the limit too.
A hold of what is usual grows by as much again each time three quarters of it are used, up to the call's limit; when the
accounts refuse that, the stream ends a little before the hold does, because tokens are made until the upstream has
stopped. Where closing the connection ends the bill, each look also marks what the call will have cost by the next one,
for whoever finds its hold if this process is killed. All this happens each time so many bytes have passed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf

from policies import budget
from policies.budget import Allowance
from policies.estimate import Expected
from proxy.dialects.base import Passage
from proxy.execution.purse import Purse
from proxy.types import Target, Usage

STEP_LEAST, STEP_MAX = 256, 64 * 1024  # bytes between two looks
SHARE = 0.75  # of a hold, when it is raised
# The count is an estimate, and a provider that keeps to its limit must not be cut because of that.
DOUBT = 1.25
DOUBT_TOKENS = 64
FAR = 6  # times as many, and the count alone is believed: an event may hold many tokens
TIME_STEP = 1_024  # bytes between two looks, where time is what costs
MARK_GUARDS = 4  # times the guard: a second of the target's speed lies between two marks


class Meter:
    """`allowance` is what is held now, `cut` is set when the stream has to end."""

    def __init__(
        self, passage: Passage, purse: Purse, target: Target, *, allowance: Allowance, expected: Expected
    ) -> None:
        self.allowance = allowance
        self.cut = False
        self._passage = passage
        self._purse = purse
        self._target = target
        self._expected = expected
        self._rate = expected.tokens_per_byte
        self._usage: Usage | None = None  # the last that was read
        self._step = max(1, allowance.output_held)
        self._input_tokens = 0  # as reported
        self._denied = False
        self.look_at: float = STEP_LEAST  # bytes to the client, after which to look
        self.marks = False  # whether what was relayed is to be known after a crash
        self.time_spent: Callable[[], int] | None = None  # nano-dollars, at an engine of one's own
        self._time_step = allowance.time_usd_nanos
        self._time_denied = False

    def __repr__(self) -> str:
        held = f"{self.allowance.output_held} of {self.allowance.output_max}"
        return f"Meter({self.seen()} made, {held} held, cut={self.cut}, {self._target.id})"

    def seen(self) -> int:
        """Output tokens that have been relayed."""
        passage, usage = self._passage, self._passage.usage
        counted = passage.output_tokens_seen() if self._rate is None else round(passage.relayed * self._rate)
        if usage is None:
            return counted
        if usage is not self._usage and usage.output_total and passage.relayed:
            self._usage, self._rate = usage, usage.output_total / passage.relayed
            return usage.output_total
        return max(counted, usage.output_total)

    async def look(self, bytes_out: int) -> float:
        """When to look again: at so many bytes. `cut` says whether the stream has to end here."""
        passage = self._passage
        if passage.finished or passage.terminal:
            return inf
        if passage.usage is not None:
            self._input_tokens = max(self._input_tokens, passage.usage.input_total)
        seen = self.seen()
        if self._raise_in(seen) <= 0 or (self._excess() and (not self._denied or self._ends_in(seen) <= 0)):
            self._denied = not await self._raise(seen)
        self.cut = self._ends_in(seen) <= 0
        if self.time_spent is None:
            return bytes_out + self._step_from(seen)
        self.cut = self.cut or not await self._lasts(self.time_spent())
        return bytes_out + TIME_STEP

    def _step_from(self, seen: int) -> float:
        """Bytes until the next look."""
        step = self._bytes_until(min(self._raise_in(seen), self._ends_in(seen)))
        if not self.marks:
            return step
        held, guard = self.allowance, self._expected.guard_tokens
        step = min(step, self._bytes_until(MARK_GUARDS * guard))
        most = seen + ceil(step * self._rate_now()) + guard
        likely = max(self._expected.input_margin, self._input_tokens)
        reached = budget.reached(held, self._target, input_tokens=likely, output_tokens=most)
        self._purse.mark(held.amounts, reached)
        return step

    def _excess(self) -> int:
        """Input that was reported and is not held."""
        return max(0, self._input_tokens - self.allowance.input_tokens)

    def _raise_in(self, seen: int) -> float:
        held = self.allowance
        if held.output_held >= held.output_max and not held.open:
            return inf
        return self._ends_in(seen) if self._denied else held.output_held * SHARE - seen

    def _ends_in(self, seen: int) -> float:
        """Output tokens until the money is used up. Input beyond what is held takes the place of output."""
        held = self.allowance
        end = held.output_held - self._excess() * self._worth()
        if held.output_held < held.output_max or held.open or self._excess():
            return max(1, end - self._expected.guard_tokens) - seen
        if self._usage is not None:
            return held.output_max + 1 - seen  # the provider's own figure: it does not keep to its limit
        certain = max(min(seen, self._passage.events), seen / FAR)
        return held.output_max * DOUBT + DOUBT_TOKENS - certain

    def _worth(self) -> float:
        """Output tokens that one of input costs."""
        price = self._target.price
        if price is None or not price.output:
            return 1.0
        each: int = max([getattr(price, name) for name in self.allowance.may_occur])
        return max(each / price.output, 1.0 if self.allowance.left.tokens else 0.0)

    async def _raise(self, seen: int) -> bool:
        held = self.allowance
        more = budget.enlarged(
            held, self._target, input_tokens=self._input_tokens, output_tokens=max(seen, held.output_held) + self._step
        )
        if await self._purse.enlarge(held.amounts, more.amounts) is not None:
            return False
        self.allowance = more
        return True

    async def _lasts(self, spent: int) -> bool:
        """Whether the hold covers the engine's time so far, or could be raised to."""
        held, forecast = self.allowance, self._expected.time
        assert forecast is not None  # where time costs, it was foreseen
        if held.time_usd_nanos >= forecast.most_usd_nanos:
            return True  # the deadline will end it before that
        if spent >= held.time_usd_nanos * SHARE and not self._time_denied:
            wanted = min(forecast.most_usd_nanos, max(spent, held.time_usd_nanos) + self._time_step)
            more = budget.lengthened(held, self._target, wanted)
            self._time_denied = await self._purse.enlarge(held.amounts, more.amounts) is not None
            if not self._time_denied:
                self.allowance = more
        return spent + forecast.guard_usd_nanos < self.allowance.time_usd_nanos

    def _bytes_until(self, tokens: float) -> float:
        rate = self._rate_now()
        return min(STEP_MAX, max(STEP_LEAST, tokens / rate if rate else 0))

    def _rate_now(self) -> float:
        """Tokens a byte."""
        passage = self._passage
        return self._rate or passage.output_tokens_seen() / max(1, passage.relayed)
