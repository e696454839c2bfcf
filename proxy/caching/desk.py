"""Where a call asks whether its answer is known, and leaves its own for others: the exact cache and the journal.

Which answers may be used for what is `policies.cache_rules`'s word. Here they are looked for, first in memory, then on
the disk, then with other gates, and kept; whoever looks there has begun its flight already, so that others who want the
same wait for it. A disk or a store that fails costs a miss, never a call.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import structs

from policies.cache_rules import CacheRules, Wanted, renew_early, ttl_s, wanted, why_not, why_not_kept
from proxy.caching.cabinet import Cabinet
from proxy.caching.kept import Kept, kept_of
from proxy.caching.recalled import Recalled
from proxy.caching.shelf import Shelf
from proxy.caching.stock import Bounds, Gone, Purge, Stock
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.flight import Answered, Replied
from proxy.execution.flights import conflict
from proxy.execution.record import Record
from proxy.observed import CacheName, LookedUp, LookUp, Reused
from proxy.reuse import Reuse

PENDING_S = 60.0  # beyond its deadline a call that was begun may still be about to be written down
REPLAY_MAX = 16 * 1024 * 1024  # bytes of one reply in the journal; streams are kept to `flight.KEPT_MAX`
AGAIN_S = 1.0  # when to ask again for a call that another process has begun
RENEWING_MAX = 64
RENEWING = "it fetches a newer answer than the one that was served"
ALL = Reuse()


class Elsewhere(Protocol):
    """Answers that other gates know."""

    async def find(self, key: bytes) -> Kept | None: ...

    def put(self, key: bytes, kept: Kept, until_wall: float) -> None:
        """Must not wait."""
        ...

    async def purge(self, agent: str | None, route: str | None, key: bytes | None) -> None: ...


class Caches:
    def __init__(
        self, clock: Clock, cabinet: Cabinet, bounds: Bounds | None = None, elsewhere: Elsewhere | None = None
    ) -> None:
        self._clock = clock
        self._cabinet = cabinet
        self._elsewhere = elsewhere
        self._bounds = bounds or Bounds()
        self._shelf = Shelf(self._bounds.memory)
        self._rng = clock.rng("caches")
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
        want = record.wanted
        if want is None or want.exact is None or not want.read:
            why = why_not(call, rules) or (RENEWING if call.cause else "its caller wants no known answer")
            record.decided(self._clock.now(), f"not looked for in the exact cache: {why}")
            if rules.exact != "off":
                _looked(record, "exact", "bypass")
        if rules.replay == "run" and (want is None or want.replay is None):
            why = "it is of no run" if call.identity.run is None else "its caller wants no known answer"
            record.decided(self._clock.now(), f"not looked for in the journal: {why}")

    def recall(self, record: Record, rules: CacheRules) -> Recalled | None:
        """From memory."""
        want = record.wanted
        if want is None or want.replay is not None:  # whose name has to be asked for first
            return None
        return self._in_memory(record, want, rules)

    def _in_memory(self, record: Record, want: Wanted, rules: CacheRules) -> Recalled | None:
        kept = self._shelf.get(want.exact) if want.exact is not None and want.read else None
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
        found = self._in_memory(record, want, rules) or await self._stored(record, want, rules)
        if found is not None and want.replay is not None and record.entered:
            await self._done(record, want, found.kept)
        return found

    async def _stored(self, record: Record, want: Wanted, rules: CacheRules) -> Recalled | None:
        """On the disk, then where other gates have left theirs."""
        if want.exact is None or not want.read:
            return None
        kept = await self._cabinet.find(want.exact, by=record.call.deadline)
        found = None if kept is None else self._usable(record, kept, rules)
        if found is None and self._elsewhere is not None:
            kept = await self._elsewhere.find(want.exact)
            found = None if kept is None else self._usable(record, kept, rules)
        if found is not None:
            self._shelf.put(want.exact, found.kept)
        else:
            _looked(record, "exact", "miss")
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
        entered = await self._cabinet.enter(name, want.digest, wall, until_wall=until, by=call.deadline)
        if entered.state == "begun":
            _looked(record, "replay", "miss")
            record.decided(self._clock.now(), f"entered in the journal as {name.hex()}, so that it is not sent twice")
            return None
        self._leave(record, name)
        if entered.state == "other":
            raise conflict()
        if entered.kept is None:
            raise _pending()
        _looked(record, "replay", "hit")
        return self._reused(record, entered.kept, "replay", wall, name)

    def _usable(self, record: Record, kept: Kept, rules: CacheRules) -> Recalled | None:
        wall, says = self._clock.wall(), record.call.reuse or ALL
        age_s = kept.age_s(wall)
        if says.age_s is not None and age_s > says.age_s:
            return None
        stale = wall >= kept.until_wall
        if stale and wall >= kept.until_wall + rules.stale_s:
            return None
        want = record.wanted
        assert want is not None
        assert want.exact is not None
        _looked(record, "exact", "stale" if stale else "hit")
        recalled = self._reused(record, kept, "exact", wall, want.exact)
        early = rules.stale_s > 0 and renew_early(age_s, kept.until_wall - kept.stored_wall, self._rng.random())
        if (stale or early) and want.exact not in self._renewing and len(self._renewing) < RENEWING_MAX:
            recalled.renew = want.exact
            self._renewing.add(want.exact)
        return recalled

    def _reused(self, record: Record, kept: Kept, cache: CacheName, wall: float, name: bytes) -> Recalled:
        age_s, key = kept.age_s(wall), name.hex()
        record.reused = Reused(cache, age_s, kept.cost_usd_nanos, kept.tokens, key)
        record.served_by = "cache"
        what = "the journal: the call had been answered" if cache == "replay" else "the exact cache: it was stored"
        record.decided(self._clock.now(), f"answered from {what} {age_s:.0f} s ago, by {kept.target} (entry {key})")
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
        if want is None or not want.write:
            why = "its caller wants that"
            record.decided(self._clock.now(), f"not kept: {why}")
            return
        if body is None:
            record.decided(self._clock.now(), "neither kept nor to be replayed: its reply is too long")
            return
        answered, reply = answer
        fresh_s = ttl_s(rules, call.reuse)
        kept = kept_of(call, body, reply.content_type, target=answered.target.id, wall=wall, ttl_s=fresh_s)
        usages = [attempt.usage for attempt in record.attempts if attempt.usage is not None]
        kept = structs.replace(
            kept,
            cost_usd_nanos=record.cost_usd_nanos,
            tokens=sum(usage.input_total + usage.output_total for usage in usages),
        )
        if want.exact is not None:
            self._store(record, want.exact, kept, answered.clamped_to is not None, rules.stale_s)
        if want.replay is not None and record.entered:
            if kept.size > min(REPLAY_MAX, self._bounds.replay):
                record.decided(self._clock.now(), "not to be replayed: its reply is too long")
                return
            await self._done(record, want, kept)

    async def _done(self, record: Record, want: Wanted, kept: Kept) -> None:
        name = want.replay
        assert name is not None
        until = self._clock.wall() + self._bounds.replay_s
        if await self._cabinet.done(name, want.digest, kept, until, by=record.call.deadline):
            self._leave(record, name)

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
        if self._elsewhere is not None:
            self._elsewhere.put(key, kept, kept.until_wall + stale_s)

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

    async def purge(self, purge: Purge) -> Gone:
        """Raises ValueError: the key is none. A call that runs may still put its reply here afterwards."""
        key = None if purge.key is None else bytes.fromhex(purge.key)
        if self._elsewhere is not None:
            await self._elsewhere.purge(purge.agent, purge.model, key)
        in_memory = self._shelf.purge(purge.agent, purge.model, key)
        return Gone(in_memory, await self._cabinet.purge(purge.agent, purge.model, key))

    @property
    def in_memory(self) -> tuple[int, int, int]:
        """Entries, bytes, and how many had to make room. Here and below: for a scrape."""
        return len(self._shelf), self._shelf.size, self._shelf.evicted

    @property
    def disk(self) -> tuple[int, int]:
        """Bytes, and how often it failed."""
        return self._cabinet.bytes_on_disk, self._cabinet.failed

    async def close(self) -> None:
        await self._cabinet.close()


def _looked(record: Record, cache: CacheName, result: LookUp) -> None:
    record.looked_up += (LookedUp(cache, result),)


def _pending() -> ProxyError:
    message = "The call of this idempotency key is still running; ask again, or wait where it was asked for."
    return ProxyError("idempotency_pending", message, param="Idempotency-Key", retry_after_s=AGAIN_S)
