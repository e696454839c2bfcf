"""How loaded each target is and how fast it has been: what one call would cost there, in seconds.

What is learnt of a single target is `speed`'s business; here they are compared. Where targets keep the prompts that
they have read (`affinity`), a call pays for what it would miss, and the more the busier they are. Who is chosen:
`balance`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from policies.engine_load import EngineLoad
from policies.pools import Pools
from policies.speed import WEIGHT, Load, Ticket, is_plain
from proxy.types import Call, Target

BUSY_MAX: Final = 0.6  # a prompt delays those that come after it by two and a half times its length at most
PRICED_BUSY_MAX: Final = 0.8  # where what is read pushes others out of memory: five times
BUSY_S: Final = 5.0  # what a target that always reads costs beside that
DECODE_TOKENS: Final = 16  # an answer that is being made slows others down as much
FOREIGN_WAITING: Final = 64  # a call of somebody else's that waits is a prompt of a thousand tokens
WARM_UP_S: Final = 30.0  # of a new target
NOISE_SHARE: Final = 0.5  # of a mean error lies between two running means that have nothing else between them
UNCACHED_LEAST: Final = 0.1
WEIGHT_LEAST: Final = 1e-6  # a weight of 0 is a last resort
TARGETS_MAX: Final = 4_096


class Speed(Struct, frozen=True):
    """What was learnt of a target; None: nothing yet."""

    first_s: float | None = None
    whole_s: float | None = None
    tokens_a_second: float | None = None


class _Pool(Struct, frozen=True):
    """Of one tuple of targets, in its order."""

    loads: list[Load]
    lifts: list[float]  # how much the work of others counts: the heaviest weight over the target's own


class Loads:
    """One a process: every attempt is told to it, whatever route it came by."""

    def __init__(self) -> None:
        self._loads: OrderedDict[str, Load] = OrderedDict()  # the longest unused first
        self._pools: Pools[_Pool] = Pools()
        self._cold_until = 0.0  # then all are warm

    def __repr__(self) -> str:
        each = (f"{id}: {len(load.waiting)} waiting, {load.decodes} decoding" for id, load in self._loads.items())
        return f"Loads({'; '.join(each)})"

    def started(self, call: Call, target: Target, now: float, cached: float | None = None) -> Ticket:
        """`cached`: tokens of its prompt that the target is expected to have in memory; None: as of other prompts."""
        load = self._of(target.id, now)
        self._loads.move_to_end(target.id)
        ticket = Ticket(load, call, now, cached)
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

    @property
    def providers(self) -> tuple[str, ...]:
        """Of the targets that are known."""
        return tuple(dict.fromkeys(id.partition("/")[0] for id in self._loads))

    def told(self, provider: str, said: EngineLoad) -> None:
        """What it is doing, whoever asked for it; it stands until it says something else."""
        loads = [load for id, load in self._loads.items() if id.startswith(f"{provider}/")]
        own = sum(len(load.waiting) + load.decodes for load in loads)
        foreign = max(0, said.running + said.waiting - own)
        waiting = min(foreign, said.waiting)
        for load in loads:
            load.foreign = foreign - waiting + waiting * FOREIGN_WAITING

    def warming(self, target_id: str, now: float, for_s: float = WARM_UP_S) -> None:
        """It is as good as new: what was learnt of its speed is forgotten, and it is trusted with more step by step."""
        self._of(target_id, now).renew(now, for_s)
        self._cold_until = max(self._cold_until, now + for_s)

    def scores(self, call: Call, targets: tuple[Target, ...], now: float) -> list[float]:
        """Seconds that the call would cost at each: its own wait, and what it does to those that come after it."""
        plain, pool = is_plain(call), self._pool(targets, now)
        busies = [load.busy_now(now) for load in pool.loads]
        least_s = _least_s(pool.loads, plain)
        # A prompt delays others the more, the busier the pool is.
        asked = call.input_tokens_estimate / (1 - min(BUSY_MAX, sum(busies) / len(busies)))
        scores = []
        for load, lift in zip(pool.loads, pool.lifts, strict=True):
            others = (load.decodes + load.foreign) * DECODE_TOKENS * load.spt
            if load.waiting:
                others += load.wait_s(now)
            if now < load.cold_until:
                others /= load.ramp(now)
            work = others * lift + asked * load.uncached * load.spt
            fixed_s = load.whole_s if plain else load.first_s
            scores.append(work + (least_s if fixed_s <= least_s else load.believed_s(plain, least_s, now)))
        return scores

    def warm_scores(
        self, call: Call, targets: tuple[Target, ...], cached: Sequence[float | None], now: float
    ) -> list[float]:
        """The same of targets that have so many tokens of the prompt in memory: what is not there also evicts others,
        so it counts up to five times where a target or the pool is busy. None: nobody knows what it keeps."""
        plain, asked, pool = is_plain(call), call.input_tokens_estimate, self._pool(targets, now)
        busies = [load.busy_now(now) for load in pool.loads]
        least_s = _least_s(pool.loads, plain)
        mean_busy = sum(busies) / len(busies)
        mean_price = 1 / (1 - min(PRICED_BUSY_MAX, mean_busy))
        scores = []
        for load, lift, busy, known in zip(pool.loads, pool.lifts, busies, cached, strict=True):
            # Spelt out rather than asked for: of thirty-two targets most are idle, and this is much of a decision.
            missing = asked * load.uncached if known is None else asked - known if known < asked else 0.0
            price = mean_price if busy <= mean_busy else 1 / (1 - min(PRICED_BUSY_MAX, busy))
            others = BUSY_S * busy
            if load.decodes or load.foreign:
                others += (load.decodes + load.foreign) * DECODE_TOKENS * load.spt
            if load.waiting:
                others += load.wait_s(now)
            if now < load.cold_until:
                others /= load.ramp(now)
            work = others * lift + missing * load.spt * price
            fixed_s = load.whole_s if plain else load.first_s
            scores.append(work + (least_s if fixed_s <= least_s else load.believed_s(plain, least_s, now)))
        return scores

    def first_events_s(
        self, call: Call, targets: tuple[Target, ...], now: float, cached: Sequence[float | None] | None = None
    ) -> list[float]:
        """Seconds until the call's own first event would come from each. `cached` as above."""
        plain, asked, loads = is_plain(call), call.input_tokens_estimate, self._pool(targets, now).loads
        least_s = _least_s(loads, plain)
        if cached is None:
            cached = [None] * len(loads)
        return [
            load.wait_s(now) + load.missing(asked, known) * load.spt + load.believed_s(plain, least_s, now)
            for load, known in zip(loads, cached, strict=True)
        ]

    def speed(self, target_id: str) -> Speed:
        load = self._loads.get(target_id)
        if load is None:
            return Speed()
        tokens_a_second = 1 / load.spt if load.shown else None
        return Speed(load.first_s or None, load.whole_s or None, tokens_a_second)

    def noise_s(self, target: Target, now: float) -> float:
        """How much two targets can differ by chance."""
        return NOISE_SHARE * self._of(target.id, now).noise_s

    def trust(self, targets: Sequence[Target], now: float) -> list[float] | None:
        """Of each, from COLD_SHARE to 1; None: all are warm."""
        if now >= self._cold_until:
            return None
        return [self._of(target.id, now).ramp(now) for target in targets]

    def _pool(self, targets: tuple[Target, ...], now: float) -> _Pool:
        pool = self._pools.find(targets)
        if pool is None:
            loads = [self._of(target.id, now) for target in targets]
            heaviest = max([target.weight for target in targets])
            lifts = [heaviest / max(WEIGHT_LEAST, target.weight) for target in targets]
            pool = self._pools.keep(targets, _Pool(loads, lifts))
        return pool

    def _of(self, target_id: str, now: float) -> Load:
        load = self._loads.get(target_id)
        if load is None:
            if len(self._loads) >= TARGETS_MAX:
                self._forget_one()
            load = self._loads[target_id] = Load(now, WARM_UP_S)
            self._cold_until = max(self._cold_until, now + WARM_UP_S)
        return load

    def _forget_one(self) -> None:
        """The longest unused. Calls that run there keep their tickets and end as they would have."""
        del self._loads[next(iter(self._loads))]
        self._pools.clear()


def _least_s(loads: Sequence[Load], plain: bool) -> float:
    """The least fixed part that one of them has shown; 0: none has."""
    shown = [load.whole_s for load in loads] if plain else [load.first_s for load in loads]
    return min(filter(None, shown), default=0.0)
