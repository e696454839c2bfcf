"""How loaded each target is and how fast it has been: what one call would cost there, in seconds.

Three things are learnt of a target from the first events of its calls. Seconds for each uncached token come from long
prompts alone, measured from when the call before it was through, so nobody is blamed for having drawn one. A fixed part
and a part for each call ahead come from short prompts and plain replies: the error of the predicted first event,
divided between the two (normalised least mean squares; Widrow and Hoff, 1960). They tell apart engines that serve one
after another from providers that serve all at once. Every update takes constant time. Who is chosen: `balance`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import exp, inf
from typing import Final

from msgspec import Struct

from proxy.types import Call, Target

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
BUSY_MAX: Final = 0.6  # a prompt delays those that come after it by two and a half times its length at most
DECODE_TOKENS: Final = 16  # an answer that is being made slows others down as much
WARM_UP_S: Final = 30.0  # of a new target
COLD_SHARE: Final = 0.1
NOISE_SHARE: Final = 0.5  # of a mean error lies between two running means that have nothing else between them
UNCACHED_LEAST: Final = 0.1
WEIGHT_LEAST: Final = 1e-6  # a weight of 0 is a last resort
TARGETS_MAX: Final = 4_096


def is_plain(call: Call) -> bool:
    """Its first event is all of its answer."""
    return not (call.head.stream or call.head.folded)


class Ticket:
    """One attempt at one target, from its start to its end."""

    __slots__ = ("ahead", "asked", "load", "plain", "predicted_s", "seen", "service_s", "started_at", "tokens")

    def __init__(self, load: _Load, call: Call, now: float) -> None:
        self.load = load
        self.plain = is_plain(call)
        self.asked = call.input_tokens_estimate
        self.tokens = self.asked * load.uncached  # those that are probably not cached
        self.started_at = now
        self.ahead = len(load.waiting)
        self.service_s = load.fixed_s(self.plain) + self.tokens * load.spt
        self.predicted_s = load.wait_s(now) + self.service_s
        self.seen = False  # its first event has come

    def __repr__(self) -> str:
        return f"Ticket({self.tokens:.0f} tokens, first event foreseen after {self.predicted_s:.3f} s)"


class _Load:
    """What is known of one target. `waiting` holds the calls without a first event, the oldest first."""

    __slots__ = (
        "busy", "busy_at", "call_s", "cold_until", "decodes", "first_s", "learned_at",
        "noise_s", "progress_at", "spt", "tokens", "uncached", "waiting", "warm_s", "whole_s",
    )  # fmt: skip

    def __init__(self, now: float, warm_s: float) -> None:
        self.waiting: dict[Ticket, None] = {}
        self.tokens = 0.0  # of those that wait
        self.decodes = 0
        self.spt = SECONDS_A_TOKEN
        self.call_s = CALL_S
        self.first_s = 0.0  # of a stream whose prompt is nothing; 0: unknown
        self.whole_s = 0.0  # of a plain reply
        self.noise_s = 0.0  # by how much predictions of these miss
        self.uncached = 1.0  # the share of a prompt that it has to read
        self.progress_at = now  # the latest first event
        self.learned_at = now
        self.busy = 0.0  # when it last changed
        self.busy_at = now
        self.warm_s = warm_s
        self.cold_until = now + warm_s

    def renew(self, now: float, warm_s: float) -> None:
        self.spt, self.call_s, self.first_s, self.whole_s = SECONDS_A_TOKEN, CALL_S, 0.0, 0.0
        self.warm_s, self.cold_until = warm_s, now + warm_s

    def fixed_s(self, plain: bool) -> float:
        return self.whole_s if plain else self.first_s

    def believed_s(self, plain: bool, least_s: float, now: float) -> float:
        """The fixed part as far as it is known; that it is above the least of the pool is forgotten step by step."""
        known = self.whole_s if plain else self.first_s
        if known <= least_s:
            return least_s
        return known + (least_s - known) * min(1.0, (now - self.learned_at) / FORGOTTEN_S)

    def wait_s(self, now: float) -> float:
        """Until a call that comes now is begun with. A target that lets its first in line wait has become slower."""
        if not self.waiting:
            return 0.0
        wait = self.tokens * self.spt + len(self.waiting) * self.call_s
        head = next(iter(self.waiting))
        late = now - max(head.started_at, self.progress_at) - head.service_s
        return wait + late if late > 0 else wait

    def busy_now(self, now: float) -> float:
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
            self._learn_fixed(ticket, now)
        else:
            spt = (now - max(ticket.started_at, self.progress_at)) / ticket.tokens
            self.spt += WEIGHT * (min(CLIP * self.spt, max(self.spt / CLIP, spt)) - self.spt)

    def _learn_fixed(self, ticket: Ticket, now: float) -> None:
        """The wait for the prompts ahead was foreseen, so a call that waited long has not found its target slow."""
        known, ahead = self.fixed_s(ticket.plain), ticket.ahead
        observed = now - ticket.started_at
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


class Speed(Struct, frozen=True):
    """What was learnt of a target; None: nothing yet."""

    first_s: float | None = None
    whole_s: float | None = None
    tokens_a_second: float | None = None


class Loads:
    """One a process: every attempt is told to it, whatever route it came by."""

    def __init__(self) -> None:
        self._loads: OrderedDict[str, _Load] = OrderedDict()  # the longest unused first
        self._cold_until = 0.0  # then all are warm

    def __repr__(self) -> str:
        each = (f"{id}: {len(load.waiting)} waiting, {load.decodes} decoding" for id, load in self._loads.items())
        return f"Loads({'; '.join(each)})"

    def started(self, call: Call, target: Target, now: float) -> Ticket:
        load = self._of(target.id, now)
        self._loads.move_to_end(target.id)
        ticket = Ticket(load, call, now)
        load.enter(ticket, now)
        return ticket

    def first_event(self, ticket: Ticket, now: float) -> None:
        """The first content of a stream, or a plain reply as a whole. The second time: nothing."""
        if ticket.seen:
            return
        ticket.seen = True
        load = ticket.load
        load.leave(ticket, now)
        load.learn(ticket, now)
        load.progress_at = now
        load.decodes += 1

    def ended(self, ticket: Ticket, now: float, cached_tokens: int | None) -> None:
        """Once, when the upstream is through with it. `cached_tokens` as it reported; None: it did not."""
        load = ticket.load
        if ticket.seen:
            load.decodes -= 1
        else:
            load.leave(ticket, now)
            known = load.fixed_s(ticket.plain) > 0.0  # else a target that fails at once would look fast
            if known and now - ticket.started_at > ticket.predicted_s:  # it would have taken longer still
                load.learn(ticket, now)
        if cached_tokens is not None and ticket.asked:
            share = max(UNCACHED_LEAST, 1 - cached_tokens / ticket.asked)
            load.uncached += WEIGHT * (share - load.uncached)

    def warming(self, target_id: str, now: float, for_s: float = WARM_UP_S) -> None:
        """It is as good as new: what was learnt of its speed is forgotten, and it is trusted with more step by step."""
        self._of(target_id, now).renew(now, for_s)
        self._cold_until = max(self._cold_until, now + for_s)

    def scores(self, call: Call, targets: Sequence[Target], now: float) -> list[float]:
        """Seconds that the call would cost at each: its own wait, and what it does to those that come after it."""
        plain = is_plain(call)
        loads, least_s, busy = self._pool(targets, plain, now)
        # A prompt delays others the more, the busier the pool is.
        asked = call.input_tokens_estimate / (1 - min(BUSY_MAX, busy))
        heaviest = max([target.weight for target in targets])
        scores = []
        for target, load in zip(targets, loads, strict=True):
            others = load.decodes * DECODE_TOKENS * load.spt
            if load.waiting:
                others += load.wait_s(now)
            if target.weight != heaviest:
                others *= heaviest / max(WEIGHT_LEAST, target.weight)
            work = others + asked * load.uncached * load.spt
            if now < load.cold_until:
                work /= load.ramp(now)
            fixed_s = load.whole_s if plain else load.first_s
            scores.append(work + (least_s if fixed_s <= least_s else load.believed_s(plain, least_s, now)))
        return scores

    def first_events_s(self, call: Call, targets: Sequence[Target], now: float) -> list[float]:
        """Seconds until the call's own first event would come from each."""
        plain, asked = is_plain(call), call.input_tokens_estimate
        loads, least_s, _ = self._pool(targets, plain, now)
        return [
            load.wait_s(now) + asked * load.uncached * load.spt + load.believed_s(plain, least_s, now) for load in loads
        ]

    def speed(self, target_id: str) -> Speed:
        load = self._loads.get(target_id)
        if load is None:
            return Speed()
        tokens_a_second = None if load.spt == SECONDS_A_TOKEN else 1 / load.spt
        return Speed(load.first_s or None, load.whole_s or None, tokens_a_second)

    def noise_s(self, target: Target, now: float) -> float:
        """How much two targets can differ by chance."""
        return NOISE_SHARE * self._of(target.id, now).noise_s

    def trust(self, targets: Sequence[Target], now: float) -> list[float] | None:
        """Of each, from COLD_SHARE to 1; None: all are warm."""
        if now >= self._cold_until:
            return None
        return [self._of(target.id, now).ramp(now) for target in targets]

    def _pool(self, targets: Sequence[Target], plain: bool, now: float) -> tuple[list[_Load], float, float]:
        """What is known of each, the least fixed part that one of them has shown, and how busy they are."""
        loads, least_s, busy = [], inf, 0.0
        for target in targets:
            load = self._loads.get(target.id) or self._of(target.id, now)
            loads.append(load)
            busy += load.busy_now(now)
            fixed_s = load.whole_s if plain else load.first_s
            if 0.0 < fixed_s < least_s:
                least_s = fixed_s
        return loads, (0.0 if least_s is inf else least_s), busy / len(loads)

    def _of(self, target_id: str, now: float) -> _Load:
        load = self._loads.get(target_id)
        if load is None:
            if len(self._loads) >= TARGETS_MAX:
                self._forget_one()
            load = self._loads[target_id] = _Load(now, WARM_UP_S)
            self._cold_until = max(self._cold_until, now + WARM_UP_S)
        return load

    def _forget_one(self) -> None:
        """The longest unused. Calls that run there keep their tickets and end as they would have."""
        del self._loads[next(iter(self._loads))]
