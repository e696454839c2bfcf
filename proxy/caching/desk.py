"""Where a call asks whether its answer is known, and leaves its own for others: the exact cache and the journal of replays.

Which answers may be used for what is `policies.cache_rules`'s word. Here they are looked for, first in memory and then on
the disk, and kept; whoever looks on the disk has begun its flight already, so that others who want the same wait for it.
A disk that fails costs a miss, never a call.
"""

from __future__ import annotations

from random import Random

from msgspec import Struct, structs

from policies.cache_rules import CacheRules, Wanted, renew_early, wanted, why_not, why_not_kept
from proxy.caching.cabinet import Cabinet, Standing, Table
from proxy.caching.kept import Kept, kept_of
from proxy.caching.recalled import Recalled
from proxy.caching.shelf import Shelf
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.flight import Answered, Replied, conflict
from proxy.execution.record import Record
from proxy.observed import CacheName, Reused
from proxy.types import Reuse

PENDING_S = 60.0  # beyond its deadline a call that was begun may still be about to be written down
AGAIN_S = 1.0  # when to ask again for a call that another process has begun
RENEWING_MAX = 64
ALL = Reuse()


class Bounds(Struct, frozen=True):
    """Bytes and seconds."""

    memory: int = 256 * 1024 * 1024
    entry: int = 1024 * 1024  # of one reply, in the exact cache
    disk: int = 1024 * 1024 * 1024  # for the exact cache
    replay: int = 1024 * 1024 * 1024
    replay_s: float = 86_400.0


class Stock(Struct, frozen=True):
    """What one process keeps, and what is on the disk they share."""

    entries: int
    bytes: int
    evicted: int
    failed: int  # times that the disk did not do what it was asked
    on_disk: dict[Table, Standing]


class Caches:
    def __init__(self, clock: Clock, cabinet: Cabinet, bounds: Bounds | None = None) -> None:
        self._clock = clock
        self._cabinet = cabinet
        self._bounds = bounds or Bounds()
        self._shelf = Shelf(self._bounds.memory)
        self._rng: Random = clock.rng("caches")
        self._running: set[bytes] = set()  # of the journal, those that this process has begun
        self._renewing: set[bytes] = set()
        self.replace(self._bounds)

    def __repr__(self) -> str:
        return f"Caches({self._shelf!r}, {self._cabinet!r}, {len(self._running)} running)"

    def replace(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._shelf.resize(bounds.memory)
        self._cabinet.room["reply"], self._cabinet.room["replay"] = bounds.disk, bounds.replay

    # --- before the call ---------------------------------------------------------------------------------------------

    def want(self, record: Record, rules: CacheRules, revision: str) -> None:
        """Writes down which known answers would do."""
        call = record.call
        record.wanted = wanted(call, rules, revision)
        if rules.exact != "off" and (record.wanted is None or record.wanted.exact is None):
            why = why_not(call, rules) or "the caller wants no known answer, and none of its own kept"
            record.decided(self._clock.now(), f"not looked for in the exact cache: {why}")

    def recall(self, record: Record, rules: CacheRules) -> Recalled | None:
        """From memory."""
        want = record.wanted
        if want is None or want.exact is None or not want.read:
            return None
        kept = self._shelf.get(want.exact)
        return None if kept is None else self._usable(record, kept, rules)

    async def look(self, record: Record, rules: CacheRules) -> Recalled | None:
        """On the disk, the journal first. Raises ProxyError: the call's name stands for another question, or the same
        call runs in another process. Returns None for whoever is to ask an upstream."""
        want = record.wanted
        assert want is not None  # else there is nothing to look for
        if want.replay is not None:
            replayed = await self._enter(record, want)
            if replayed is not None:
                return replayed
        if want.exact is None or not want.read:
            return None
        kept = await self._cabinet.find(want.exact)
        found = None if kept is None else self._usable(record, kept, rules)
        if found is not None:
            self._shelf.put(want.exact, found.kept)
        else:
            record.decided(self._clock.now(), "its answer is not in the exact cache")
        return found

    async def _enter(self, record: Record, want: Wanted) -> Recalled | None:
        name, call, wall = want.replay, record.call, self._clock.wall()
        assert name is not None
        if name in self._running:  # its reply is too long for others to join it
            raise _pending()
        self._running.add(name)
        record.entered = True
        until = wall + (call.deadline - self._clock.now()) + PENDING_S
        entered = await self._cabinet.enter(name, want.digest, wall, until_wall=until)
        if entered.state == "begun":
            return None
        self._leave(record, name)
        if entered.state == "other":
            raise conflict()
        if entered.kept is None:
            raise _pending()
        return self._reused(record, entered.kept, "replay", wall)

    def _usable(self, record: Record, kept: Kept, rules: CacheRules) -> Recalled | None:
        wall, says = self._clock.wall(), record.call.reuse or ALL
        age_s = kept.age_s(wall)
        if says.age_s is not None and age_s > says.age_s:
            return None
        stale = wall >= kept.until_wall
        if stale and wall >= kept.until_wall + rules.stale_s:
            return None
        recalled = self._reused(record, kept, "exact", wall)
        want = record.wanted
        assert want is not None and want.exact is not None
        early = rules.stale_s > 0 and renew_early(age_s, kept.until_wall - kept.stored_wall, self._rng.random())
        if (stale or early) and want.exact not in self._renewing and len(self._renewing) < RENEWING_MAX:
            recalled.renew = want.exact
            self._renewing.add(want.exact)
        return recalled

    def _reused(self, record: Record, kept: Kept, cache: CacheName, wall: float) -> Recalled:
        age_s = kept.age_s(wall)
        record.reused = Reused(cache, age_s, kept.cost_usd_nanos, kept.tokens)
        record.served_by = "cache"
        what = "the journal: the call had been answered" if cache == "replay" else "the exact cache: it was stored"
        record.decided(self._clock.now(), f"answered from {what} {age_s:.0f} s ago, by {kept.target}")
        return Recalled(kept)

    def renewed(self, key: bytes) -> None:
        self._renewing.discard(key)

    # --- after it ----------------------------------------------------------------------------------------------------

    def streaming(self, record: Record) -> None:
        """The first of its reply goes out."""
        if record.entered and record.wanted is not None and record.wanted.replay is not None:
            self._cabinet.streaming(record.wanted.replay)

    async def keep(
        self, record: Record, rules: CacheRules, answer: tuple[Answered, Replied], body: bytes | None
    ) -> None:
        """All of a reply, every attempt for it settled. Returns once a replay would find it. None: too long."""
        want, call, wall = record.wanted, record.call, self._clock.wall()
        if want is None or not want.write or body is None:
            return
        answered, reply = answer
        says = call.reuse or ALL
        ttl_s = rules.ttl_s if says.ttl_s is None else says.ttl_s
        kept = kept_of(call, body, reply.content_type, target=answered.target.id, wall=wall, ttl_s=ttl_s)
        usages = [attempt.usage for attempt in record.attempts if attempt.usage is not None]
        kept = structs.replace(
            kept,
            cost_usd_nanos=_cost(record),
            tokens=sum(usage.input_total + usage.output_total for usage in usages),
        )
        if want.exact is not None:
            self._store(record, want.exact, kept, answered.clamped_to is not None, rules.stale_s)
        if want.replay is not None and record.entered:
            record.entered = not await self._cabinet.done(want.replay, want.digest, kept, wall + self._bounds.replay_s)
            if not record.entered:
                self._running.discard(want.replay)

    def _store(self, record: Record, key: bytes, kept: Kept, shortened: bool, stale_s: float) -> None:
        plan = record.plan
        elsewhere = plan is not None and all(target.id != kept.target for target in plan.steps[0])
        why = why_not_kept(record.call, plan, kept.body, shortened=shortened, served_elsewhere=elsewhere)
        if why is None and kept.size > self._bounds.entry:
            why = "it is too long"
        if why is not None:
            record.decided(self._clock.now(), f"not kept in the exact cache: {why}")
            return
        self._shelf.put(key, kept)
        self._cabinet.put(key, kept, kept.until_wall + stale_s)

    def drop(self, record: Record) -> None:
        """The call is over. What it had begun in the journal and did not finish is as if it had never been."""
        if record.entered and record.wanted is not None and record.wanted.replay is not None:
            self._cabinet.withdraw(record.wanted.replay)
            self._leave(record, record.wanted.replay)

    def _leave(self, record: Record, name: bytes) -> None:
        record.entered = False
        self._running.discard(name)

    # --- for the operator --------------------------------------------------------------------------------------------

    async def stock(self) -> Stock:
        shelf = self._shelf
        return Stock(len(shelf), shelf.size, shelf.evicted, self._cabinet.failed, await self._cabinet.standing())

    async def purge(self, agent: str | None, route: str | None, key: bytes | None) -> int:
        """How many replies are gone, from memory or from the disk. All three None: all of them."""
        if key is not None:
            self._shelf.forget(key)
        in_memory = 0 if key is not None else self._shelf.purge(agent, route)
        return max(in_memory, await self._cabinet.purge(agent, route, key))

    async def close(self) -> None:
        await self._cabinet.close()


def _pending() -> ProxyError:
    message = "The call of this idempotency key is still running; ask again, or wait for its reply where it was asked for."
    return ProxyError("idempotency_pending", message, param="Idempotency-Key", retry_after_s=AGAIN_S)


def _cost(record: Record) -> int | None:
    costs = [attempt.cost_usd_nanos for attempt in record.attempts]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
