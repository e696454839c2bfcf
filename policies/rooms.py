"""Which targets are known by their limits: one room each, those of one provider sharing the provider's.

Rooms are made when a target is first asked for and forgotten when nothing would be lost by it. `share` is this
process's part of every limit that is configured, and of what replies tell.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from math import inf
from typing import Final

from policies.concurrency import adaptive
from policies.provider_limits import TargetLimits, TargetRules, ToldKind
from policies.rate_limit import Account, Rates
from proxy.types import Target

ROOMS_MAX: Final = 4_096  # the names of a wildcard's models come from clients
EXAMINED_MAX: Final = 8


class Rooms:
    def __init__(self, rules: TargetRules, *, share: float = 1.0, rooms_max: int = ROOMS_MAX) -> None:
        self._rules = rules
        self._share = share
        self._max = rooms_max
        self._rooms: OrderedDict[str, TargetLimits] = OrderedDict()
        self._providers: dict[str, Account] = {}

    def __repr__(self) -> str:
        return f"Rooms({len(self._rooms)} targets, {self.running} running)"

    def __len__(self) -> int:
        return len(self._rooms)

    @property
    def running(self) -> int:
        return sum(room.own.running for room in self._rooms.values())

    def of(self, target: Target, now: float) -> TargetLimits:
        room = self._rooms.get(target.id)
        return self._opened(target, now) if room is None else room

    def replace(self, rules: TargetRules, now: float) -> None:
        """Other limits, from now on; what was taken stays taken."""
        before, self._rules = self._rules, rules
        for name, account in self._providers.items():
            account.change(rules.providers.get(name, Rates()), now)
        for id, room in self._rooms.items():
            room.own.change(rules.of_target(id), now)
            room.arrange()
            provider = id.partition("/")[0]
            if rules.adaptive.get(provider) != before.adaptive.get(provider):
                room.adapt(adaptive(rules.adaptive.get(provider), self._share))

    def ratio(self, id: str, kind: ToldKind, now: float) -> float:
        """What is left of a target's tightest limit; 1.0 where none is known. `provider/*`: the least of them."""
        if id.endswith("/*"):
            found = [room for name, room in list(self._rooms.items()) if name.startswith(id[:-1])]
            return min((room.ratio(kind, now) for room in found), default=1.0)
        room = self._rooms.get(id)
        return 1.0 if room is None else room.ratio(kind, now)

    def forgive(self, id: str) -> None:
        """What was learned of its concurrency while it failed says nothing of what it can bear."""
        room = self._rooms.get(id)
        if room is not None and room.adaptive is not None:
            room.adapt(adaptive(self._rules.adaptive.get(id.partition("/")[0]), self._share))

    def running_at(self, id: str) -> int:
        """Attempts."""
        room = self._rooms.get(id)
        return 0 if room is None else room.own.running

    def concurrency(self, id: str) -> float:
        """Calls that may run at a target at the same time, as far as is known; infinite: any number."""
        room = self._rooms.get(id)
        return inf if room is None else min(room.own.concurrency, room.provider.concurrency)

    def _opened(self, target: Target, now: float) -> TargetLimits:
        if len(self._rooms) >= self._max:
            self._forget_idle(now)
        provider = self._providers.get(target.provider)
        if provider is None:
            rates = self._rules.providers.get(target.provider, Rates())
            provider = self._providers[target.provider] = Account(f"provider:{target.provider}", rates, self._share)
        own = Account(f"target:{target.id}", self._rules.of_target(target.id), self._share)
        learner = adaptive(self._rules.adaptive.get(target.provider), self._share)
        room = self._rooms[target.id] = TargetLimits(own, provider, learner)
        return room

    def _forget_idle(self, now: float) -> None:
        """Those that are in use stay; there are no more of them than calls in flight."""
        for id, room in list(islice(self._rooms.items(), EXAMINED_MAX)):
            if room.idle(now):
                del self._rooms[id]
            else:
                self._rooms.move_to_end(id)
