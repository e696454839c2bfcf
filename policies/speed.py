"""What is learnt of one target from the first events of its calls, and what is waiting there.

Seconds for each uncached token come from long prompts alone, measured from when the call before it was through, so
nobody is blamed for having drawn one. A fixed part and a part for each call ahead come from short prompts and plain
replies: the error of the predicted first event, divided between the two (normalised least mean squares; Widrow and
Hoff, 1960). They tell apart engines that serve one after another from providers that serve all at once. While all
prompts are short, what those ahead cost for each of their tokens is known as a bound alone: they have cost no more than
the wait. Every update takes constant time. All targets together: `load`.
"""

from __future__ import annotations

from math import exp
from typing import Final

from proxy.types import Call

LONG_TOKENS: Final = 1_000  # shorter prompts tell of latency, not of speed
SECONDS_A_TOKEN: Final = 1 / 8_000  # until a target has shown its own
CALL_S: Final = 0.001  # the same, of a call ahead
LEAST_S: Final = 0.001  # of anything that is learnt
WEIGHT: Final = 0.1  # of the newest sample in a running mean
RECOVERY_WEIGHT: Final = 0.5  # of a sample that is far below what was foreseen
STALE_S: Final = 10.0  # what was learnt so long ago is worth a third
FORGOTTEN_S: Final = 60.0  # until a target that was slower is asked again
CLIP: Final = 4.0  # a sample counts as no more than so many times what was foreseen
BUSY_DECAY_S: Final = 60.0
COLD_SHARE: Final = 0.1


def is_plain(call: Call) -> bool:
    """Its first event is all of its answer."""
    return not (call.head.stream or call.head.folded)


class Ticket:
    """One attempt at one target, from its start to its end."""

    __slots__ = (
        "ahead", "asked", "behind", "load", "plain", "predicted_s", "seen", "service_s", "started_at", "tokens",
    )  # fmt: skip

    def __init__(self, load: Load, call: Call, now: float, cached: float | None) -> None:
        self.load = load
        self.plain = is_plain(call)
        self.asked = call.input_tokens_estimate
        self.tokens = load.missing(self.asked, cached)
        self.started_at = now
        self.ahead = len(load.waiting)
        self.behind = load.tokens  # those of the calls ahead
        self.service_s = load.fixed_s(self.plain) + self.tokens * load.spt
        self.predicted_s = load.wait_s(now) + self.service_s
        self.seen = False  # its first event has come

    def __repr__(self) -> str:
        return f"Ticket({self.tokens:.0f} tokens, first event foreseen after {self.predicted_s:.3f} s)"


class Load:
    """What is known of one target. `waiting` holds the calls without a first event, the oldest first."""

    __slots__ = (
        "ahead_spt", "busy", "busy_at", "call_s", "cold_until", "decodes", "first_s", "foreign", "learned_at",
        "noise_s", "progress_at", "samples", "shown", "spt", "tokens", "uncached", "waiting", "warm_s", "whole_s",
    )  # fmt: skip

    def __init__(self, now: float, warm_s: float) -> None:
        self.waiting: dict[Ticket, None] = {}
        self.tokens = 0.0  # of those that wait
        self.decodes = 0
        self.foreign = 0.0  # what it does for others, as it says itself, in answers that are being made
        self.spt = SECONDS_A_TOKEN
        self.ahead_spt = SECONDS_A_TOKEN  # of calls ahead
        self.shown = False  # both, by a long prompt
        self.call_s = CALL_S
        self.first_s = 0.0  # of a stream whose prompt is nothing; 0: unknown
        self.whole_s = 0.0  # of a plain reply
        self.samples = 0  # of both together
        self.noise_s = 0.0  # by how much predictions of these miss
        self.uncached = 1.0  # the share of a prompt that it has to read
        self.progress_at = now  # the latest first event
        self.learned_at = now
        self.busy = 0.0  # when it last changed
        self.busy_at = now
        self.warm_s = warm_s
        self.cold_until = now + warm_s

    def renew(self, now: float, warm_s: float) -> None:
        """It may have become faster, so that it was slow is forgotten. That it answers calls side by side is not: it
        could show that again only where it is asked."""
        self.spt, self.ahead_spt = min(self.spt, SECONDS_A_TOKEN), min(self.ahead_spt, SECONDS_A_TOKEN)
        self.shown = False
        self.call_s, self.first_s, self.whole_s, self.samples = CALL_S, 0.0, 0.0, 0
        self.warm_s, self.cold_until = warm_s, now + warm_s

    def missing(self, asked: int, cached: float | None) -> float:
        """Tokens of a prompt that it probably has to read; where nobody knows, as of other prompts."""
        return asked * self.uncached if cached is None else max(0.0, asked - cached)

    def fixed_s(self, plain: bool) -> float:
        return self.whole_s if plain else self.first_s

    def believed_s(self, plain: bool, least_s: float, now: float) -> float:
        """The fixed part as far as it is known: that it is above the least of the pool may be chance while samples are
        few, and is forgotten step by step."""
        known = self.whole_s if plain else self.first_s
        if known <= least_s:
            return least_s
        sure = min(1.0, self.samples * WEIGHT) * max(0.0, 1.0 - (now - self.learned_at) / FORGOTTEN_S)
        return least_s + (known - least_s) * sure

    def wait_s(self, now: float) -> float:
        """Until a call that comes now is begun with. A target that lets its first in line wait has become slower."""
        if not self.waiting:
            return 0.0
        wait = self.tokens * self.ahead_spt + len(self.waiting) * self.call_s
        head = next(iter(self.waiting))
        late = now - max(head.started_at, self.progress_at) - head.service_s
        return wait + late if late > 0 else wait

    def busy_now(self, now: float) -> float:
        if not self.waiting and not self.busy:
            return 0.0
        kept = exp((self.busy_at - now) / BUSY_DECAY_S)
        return 1 - (1 - self.busy) * kept if self.waiting else self.busy * kept

    def ramp(self, now: float) -> float:
        """The share of its speed that a target is trusted with."""
        if now >= self.cold_until:
            return 1.0
        return 1.0 - (1.0 - COLD_SHARE) * (self.cold_until - now) / self.warm_s

    def enter(self, ticket: Ticket, now: float) -> None:
        self._count_busy(now)
        self.waiting[ticket] = None
        self.tokens += ticket.tokens

    def leave(self, ticket: Ticket, now: float) -> None:
        self._count_busy(now)
        del self.waiting[ticket]
        self.tokens = self.tokens - ticket.tokens if self.waiting else 0.0

    def _count_busy(self, now: float) -> None:
        self.busy, self.busy_at = self.busy_now(now), now

    def learn(self, ticket: Ticket, now: float) -> None:
        """From a first event, or from one that has not come so long after it was due."""
        if ticket.plain or ticket.tokens <= LONG_TOKENS:
            if not self.shown and ticket.behind:
                self._bound_ahead(ticket, now)
            self._learn_fixed(ticket, now)
        else:
            spt = (now - max(ticket.started_at, self.progress_at)) / ticket.tokens
            self.spt += WEIGHT * (min(CLIP * self.spt, max(self.spt / CLIP, spt)) - self.spt)
            self.ahead_spt, self.shown = self.spt, True

    def _bound_ahead(self, ticket: Ticket, now: float) -> None:
        """Else calls that are answered side by side would look like a line, which no other part can make up for: none
        of them is less than nothing."""
        most = max(0.0, now - ticket.started_at - ticket.service_s) / ticket.behind
        if most < self.ahead_spt:
            self.ahead_spt += WEIGHT * (most - self.ahead_spt)

    def _learn_fixed(self, ticket: Ticket, now: float) -> None:
        """The wait for the prompts ahead was foreseen, so a call that waited long has not found its target slow."""
        known, ahead = self.fixed_s(ticket.plain), ticket.ahead
        observed = now - ticket.started_at
        self.samples += 1
        if not known:
            self.noise_s = observed / 2
            self._set_fixed(ticket.plain, observed / (1 + ahead), now)
            return
        weight = max(WEIGHT, 1 - exp((self.learned_at - now) / STALE_S))
        predicted = max(LEAST_S, ticket.predicted_s)
        if observed < predicted / CLIP:  # chance makes a quick target slow, never a slow one quick
            weight = max(weight, RECOVERY_WEIGHT)
            self.call_s *= 1 - weight
        error = min(observed, CLIP * predicted) - predicted
        self.noise_s += WEIGHT * (abs(error) - self.noise_s)
        error *= weight / (1 + ahead * ahead)
        self.call_s = max(LEAST_S, self.call_s + error * ahead)
        self._set_fixed(ticket.plain, known + error, now)

    def _set_fixed(self, plain: bool, seconds: float, now: float) -> None:
        self.learned_at = now
        if plain:
            self.whole_s = max(LEAST_S, seconds)
        else:
            self.first_s = max(LEAST_S, seconds)
