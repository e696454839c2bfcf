"""The money of one call: a single reservation, of which each attempt holds its part.

The first attempt takes the reservation, a further one raises it where what is left of it does not suffice: what its
predecessor gave back is used again, what it spent is not. However many attempts there were, the accounts see one hold
and one end. An attempt cannot be sent without its part.
"""

from __future__ import annotations

from msgspec import structs

from proxy.errors import ProxyError
from proxy.holds import Left, Reservation
from proxy.pressure import Pressure
from proxy.state.store import Ask, Store
from proxy.types import Amounts, Charge

NOTHING = Amounts()


class Purse:
    __slots__ = (
        *("_closed", "_held", "_id", "_marked", "_path", "_reservation", "_sent", "_store", "_ttl_s", "_used"),
        *("charges", "limited"),
    )

    def __init__(self, store: Store, id: str, path: tuple[str, ...], ttl_s: float) -> None:
        """`ttl_s`: how long a hold may outlive its call when nobody ends it."""
        self.charges: tuple[Charge, ...] = ()  # once it is closed
        self.limited = store.limited(path)  # whether any limit stands over the call
        self._store = store
        self._id = id
        self._path = path
        self._ttl_s = ttl_s
        self._reservation: Reservation | None = None
        self._held = NOTHING  # by attempts that run
        self._used = NOTHING  # by attempts that have ended
        self._sent = False
        self._closed = False
        self._marked = False

    def __repr__(self) -> str:
        return f"Purse({self._id}, held={self._held}, used={self._used}, closed={self._closed})"

    @property
    def reservation(self) -> Reservation | None:
        return self._reservation

    def pressure(self) -> Pressure:
        """How near its accounts are to the end of a budget."""
        return self._store.pressure(self._path)

    @property
    def free_usd_nanos(self) -> int | None:
        """The least that a limit in money has free. None: nothing limits its money."""
        return self._store.left(self._path).usd_nanos if self.limited else None

    async def take(self, ask: Ask) -> Amounts | ProxyError:
        """An attempt's part, as `ask` sizes it."""
        if self._reservation is None:
            reserved = await self._store.reserve(self._id, self._path, ask, ttl_s=self._ttl_s)
            if isinstance(reserved, ProxyError):
                return reserved
            self._reservation = reserved
            self._held = reserved.amounts
            return reserved.amounts
        part = ask(self._left(self._reservation))
        refusal = await self._raise_to(_sum(_sum(self._used, self._held), part))
        if refusal is not None:
            return refusal
        self._held = _sum(self._held, part)
        if self._marked:
            self.mark(part, part)  # what was marked did not know of this attempt
        return part

    async def enlarge(self, part: Amounts, total: Amounts) -> ProxyError | None:
        """Raises one attempt's part to `total`."""
        soft = None
        if total.soft_usd_nanos is not None and part.soft_usd_nanos is not None:
            soft = max(0, total.soft_usd_nanos - part.soft_usd_nanos)
        more = Amounts(
            max(0, total.usd_nanos - part.usd_nanos), max(0, total.tokens - part.tokens), soft_usd_nanos=soft
        )
        refusal = await self._raise_to(_sum(_sum(self._used, self._held), more))
        if refusal is None:
            self._held = _sum(self._held, more)
        return refusal

    def mark(self, part: Amounts, reached: Amounts) -> None:
        """Where an attempt that holds `part` would have cost `reached` if this process died now."""
        reservation = self._reservation
        assert reservation is not None  # only a part that was taken is used up
        self._marked = True
        if self._used is not NOTHING or self._held.usd_nanos != part.usd_nanos or self._held.tokens != part.tokens:
            others = Amounts(self._held.usd_nanos - part.usd_nanos, self._held.tokens - part.tokens)
            reached = _sum(_sum(self._used, others), reached)
        self._store.mark(reservation, reached)

    def give_back(self, part: Amounts, used: Amounts, *, sent: bool) -> None:
        """An attempt has ended. `sent`: a byte of it may have reached the upstream."""
        self._sent = self._sent or sent
        self._used = used if self._used is NOTHING else _sum(self._used, used)
        if part is self._held:  # the only one
            self._held = NOTHING
            return
        soft = None if self._held.soft_usd_nanos is None else self._held.by_index[5] - part.by_index[5]
        self._held = Amounts(
            self._held.usd_nanos - part.usd_nanos, self._held.tokens - part.tokens, soft_usd_nanos=soft
        )

    def close(self) -> None:
        """Ends the reservation. The second time: nothing."""
        if self._closed or self._reservation is None:
            return
        self._closed = True
        if self._sent:
            self.charges = self._store.post(self._reservation, self._used)
        else:
            self._store.void(self._reservation)

    def _left(self, reservation: Reservation) -> Left:
        left = self._store.left(self._path)
        if left.usd_nanos is None:
            return left
        kept, gone, held = (amounts.by_index for amounts in (reservation.amounts, self._used, self._held))
        unused = min(kept[index] - gone[index] - held[index] for index in (0, 5))  # the hard limits', the soft ones'
        return structs.replace(left, usd_nanos=left.usd_nanos + max(0, unused))

    async def _raise_to(self, total: Amounts) -> ProxyError | None:
        held = self._reservation
        assert held is not None  # only a part that was taken can grow
        if all(need <= have for need, have in zip(total.by_index, held.amounts.by_index, strict=True)):
            return None
        extended = await self._store.extend(held, total)
        if isinstance(extended, ProxyError):
            return extended
        self._reservation = extended
        return None


class SidePurse(Purse):
    """Of a call that the gate makes because of another: it pays like any, and is none of the calls that are counted,
    or an agent with so many steps would have fewer of his own."""

    __slots__ = ()

    async def take(self, ask: Ask) -> Amounts | ProxyError:
        return await super().take(lambda left: structs.replace(ask(left), requests=0, steps=0, concurrency=0))


def _sum(one: Amounts, other: Amounts) -> Amounts:
    """Money and tokens add up over attempts; requests, steps and concurrency are the call's, however many it takes."""
    soft = None
    if one.soft_usd_nanos is not None or other.soft_usd_nanos is not None:
        soft = one.by_index[5] + other.by_index[5]
    usd_nanos, tokens = one.usd_nanos + other.usd_nanos, one.tokens + other.tokens
    return Amounts(usd_nanos, tokens, requests=1, steps=1, concurrency=1, soft_usd_nanos=soft)
