"""Which targets of a step are warm for a call: the one place that brings calls, prompts and targets' memories together.

Nothing is looked at, and nothing costs anything, unless a step has two or more targets that keep the prompts they have
read. Who is chosen, and what a miss costs, is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from policies.affinity import Affinity, Promise
from policies.pools import Pools
from policies.prefix import Prefix, Prefixes
from proxy.types import Call, Target

LEAST: Final = 2  # targets that keep prompts, for a choice between them
POOLED_MAX: Final = 4_096


class Beginnings(Protocol):
    """Knows prompts by their beginnings."""

    def of(self, call: Call) -> Prefix | None: ...


class Warm(Struct, frozen=True):
    """`cached`: tokens of the prompt that each target is expected to have; None: it is not known to keep any."""

    targets: tuple[Target, ...]
    cached: tuple[float | None, ...]
    tokens: int


class _Pool(Struct, frozen=True):
    """Of one tuple of targets. `targets`: those that keep prompts, then the others."""

    keeping: tuple[Target, ...]
    others: tuple[Target, ...]
    targets: tuple[Target, ...]
    unknown: tuple[float | None, ...]  # as long as nothing is known of a prompt
    places: dict[str, int]

    @staticmethod
    def of(keeping: tuple[Target, ...], others: tuple[Target, ...]) -> _Pool:
        targets = keeping if not others else (*keeping, *others)
        unknown = (*(0.0 for _ in keeping), *(None for _ in others))
        return _Pool(keeping, others, targets, unknown, {target.id: at for at, target in enumerate(keeping)})


class Warmth:
    """One a process."""

    def __init__(self, affinity: Affinity, prefixes: Beginnings | None = None) -> None:
        self.affinity = affinity
        self.on = True
        self._prefixes = prefixes or Prefixes()
        self._pools: Pools[_Pool] = Pools()
        self._pooled: set[str] = set()  # targets that calls have had to choose between

    def __repr__(self) -> str:
        return f"Warmth({self.affinity}, {self._prefixes})"

    def of(self, call: Call, targets: tuple[Target, ...], now: float) -> Warm | None:
        """None: there is no choice to be made by it."""
        if not self.on:
            return None
        pool = self._pool(targets)
        if len(pool.keeping) < LEAST:
            return None
        prefix = self._prefixes.of(call)
        if prefix is None:
            return None
        keeping = self.affinity.candidates(prefix, pool.keeping)
        if keeping is not pool.keeping:  # by rendezvous: a few, others for each run
            pool = _Pool.of(keeping, pool.others)
        known, places = list(pool.unknown), pool.places
        for name, tokens in self.affinity.expected(prefix, keeping, now).items():
            if name in places:
                known[places[name]] = tokens
        return Warm(pool.targets, tuple(known), prefix.tokens)

    def cached(self, call: Call, targets: Sequence[Target], now: float) -> list[float | None] | None:
        """What each is expected to have, of targets that others were chosen before; None: nobody knows of any."""
        kept = [target for target in targets if target.id in self._pooled]
        prefix = self._prefixes.of(call) if kept and self.on else None
        if prefix is None:
            return None
        known = self.affinity.expected(prefix, kept, now)
        return [known.get(target.id, 0.0) if target.id in self._pooled else None for target in targets]

    def started(self, call: Call, target: Target, now: float) -> Promise | None:
        """An attempt is sent there. None: nothing was chosen by memory there."""
        prefix = self._prefix(call, target)
        return None if prefix is None else self.affinity.started(prefix, target, now)

    def copied(self, call: Call, target: Target, now: float) -> Promise | None:
        """The same of the second copy of a late call."""
        prefix = self._prefix(call, target)
        return None if prefix is None else self.affinity.copied(prefix, target, now)

    def _prefix(self, call: Call, target: Target) -> Prefix | None:
        return self._prefixes.of(call) if self.on and target.id in self._pooled else None

    def _pool(self, targets: tuple[Target, ...]) -> _Pool:
        pool = self._pools.find(targets)
        if pool is not None:
            return pool
        keeping = tuple([target for target in targets if target.traits.prefix_cache])
        others = tuple([target for target in targets if not target.traits.prefix_cache])
        if len(keeping) >= LEAST:
            if len(self._pooled) >= POOLED_MAX:  # names of a wildcard's models come from clients
                self._pooled.clear()
                self._pools.clear()
            self._pooled.update([target.id for target in keeping])
        return self._pools.keep(targets, _Pool.of(keeping, others))
