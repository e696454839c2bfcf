"""Which target keeps a run: the one that has its prompt in the cache, while that is worth more than another's offer.

A run's first answer makes a home of the target that gave it. The next calls go there unless it may not be asked (its
breaker, a failed try), or its first event is expected late enough to risk the deadline while another's is not, or what
another would save on the calls that a run of this age still has before it exceeds the price of a cold prompt there:
its length times the difference between writing and reading. A home that is out is kept for five minutes, then the run
has moved. A run whose calls are answered by several models (the rungs of a cascade) has a home for each of them. Only
targets that sell cached input for less are homes; replicas of one's own are `affinity`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from policies.load import Loads
from policies.recent import Recent
from pricing.book import price_at
from proxy.tenancy import tenant
from proxy.types import Call, Price, Target

RUNS_MAX: Final = 8_192
HOMES_MAX: Final = 10  # of a run: as many rungs as a cascade may have, and one
TOKENS_LEAST: Final = 1_024  # no provider caches less
KEPT_S: Final = 300.0  # unused, or out
DEADLINE_SHARE: Final = 0.5  # of the time left; a first event that takes more of it is a risk
OUTPUT_TOKENS: Final = 250  # of a step, where one must be compared: the median of recorded agents is 215
ENDPOINTS: Final = frozenset({"chat", "responses"})


class _Home:
    __slots__ = ("calls", "target", "used_at")

    def __init__(self, target: str, now: float) -> None:
        self.target = target
        self.calls = 1
        self.used_at = now


class Stickiness:
    """One a process."""

    def __init__(self, loads: Loads) -> None:
        # By run; a run's own in the order in which they became homes.
        self._homes: Recent[tuple[str, str, str], list[_Home]] = Recent(RUNS_MAX, list)
        self._loads = loads

    def __repr__(self) -> str:
        return f"Stickiness({len(self._homes)} runs)"

    def home(self, call: Call, usable: tuple[Target, ...], now: float) -> Target | None:
        """Where the call should go for the sake of its prompt; None: anywhere."""
        key = _key(call)
        homes = None if key is None else self._homes.find(key)
        if homes is None:
            return None
        found = _first(homes, usable, now)
        if found is None:
            return None
        home, target = found
        if self._too_late(call, target, usable, now):
            return None
        if _moves(call, target, usable, home.calls):
            homes.remove(home)
            return None
        return target

    def answered(self, call: Call, target: Target, now: float) -> None:
        """A target has begun to answer one of a run's calls: its prompt is in that one's cache now."""
        key = _key(call)
        if key is None or not sells_cached(target):
            return
        homes = self._homes.get(key)
        known = next((home for home in homes if home.target == target.id and not _is_over(home, now)), None)
        if known is not None:
            known.calls, known.used_at = known.calls + 1, now
            return
        homes[:] = [home for home in homes if not _is_over(home, now)][1 - HOMES_MAX :]
        homes.append(_Home(target.id, now))

    def _too_late(self, call: Call, home: Target, usable: tuple[Target, ...], now: float) -> bool:
        if len(usable) == 1:
            return False
        seconds = self._loads.first_events_s(call, usable, now)
        at_home = min(each for each, target in zip(seconds, usable, strict=True) if target is home)
        return at_home > DEADLINE_SHARE * (call.deadline - now) and min(seconds) < at_home


def sells_cached(target: Target) -> bool:
    """Whether it has a price for cached input, below that of other input, and is no engine of one's own."""
    price = target.price
    return price is not None and price.input_cached < price.input_uncached and not target.traits.prefix_cache


def _key(call: Call) -> tuple[str, str, str] | None:
    who = call.identity
    if who.run is None or call.input_tokens_estimate < TOKENS_LEAST or call.endpoint not in ENDPOINTS:
        return None
    return tenant(who), who.run, call.route


def _first(homes: Sequence[_Home], usable: Sequence[Target], now: float) -> tuple[_Home, Target] | None:
    """The oldest home that may be asked."""
    for home in homes:
        if not _is_over(home, now):
            for target in usable:
                if target.id == home.target:
                    return home, target
    return None


def _is_over(home: _Home, now: float) -> bool:
    return now - home.used_at > KEPT_S


def _moves(call: Call, home: Target, usable: Sequence[Target], calls: int) -> bool:
    """Whether another is so much cheaper that a cold prompt there pays. A run that has had so many calls has about as
    many before it."""
    tokens, own = call.input_tokens_estimate, home.price
    if own is None:
        return False
    warm = _step_picos(own, tokens)
    for other in usable:
        price = other.price
        if price is None or price is own or other is home:
            continue
        at = price_at(price, tokens)
        cold = tokens * (max(at.input_uncached, at.input_cache_write_5m) - at.input_cached)
        if (warm - _step_picos(price, tokens)) * calls > cold:
            return True
    return False


def _step_picos(price: Price, tokens: int) -> int:
    """Of a step whose prompt is cached."""
    at = price_at(price, tokens)
    return tokens * at.input_cached + OUTPUT_TOKENS * at.output
