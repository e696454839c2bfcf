"""Money of accounts that another process owns, lent to this one: a hold is taken from leases, without asking anyone.

A lease is an amount of one limit in one window. Of it a part is held by calls that run, a part was used by calls whose
settlement is not yet on its way to the owner, and the rest is free. Both sides change the amount by the same messages
in the same order (lent, returned, settled), so they agree on it without ever comparing. Which window is open and what
may be lent is the owner's word (`policies.lending`); this side never makes money, it only divides what it has.
See C. Gray and D. Cheriton, "Leases" (1989), and P. O'Neil, "The Escrow Transactional Method" (1986).
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from policies.limits import name_of
from proxy.types import Amounts, Charge, Period

IDLE_S: Final = 1.0  # what nobody has drawn on for so long goes back
AHEAD_S: Final = 2.0  # a lease is meant to last so long
CLOSED: Final = -1  # in place of an amount that goes back: the lease is over, nothing will be heard of it again
STEP_MAX: Final = 1_024  # holds of the usual size
SMOOTHING: Final = 8  # a new figure counts for an eighth of an average

Returned = tuple[int, int]  # number of a lease, and how much of it goes back
Used = tuple[int, int]  # number of a lease, and how much of it a call has used up


class Terms(Struct, frozen=True, array_like=True):
    """What the owner lends now, on one limit. `number` names the lease between the two of them."""

    number: int
    period: Period
    index: int  # of `Amounts.by_index`
    resets_wall: float
    amount: int
    exact: bool  # just what was asked for: whatever comes free of it goes back at once


class Wanted(Struct, frozen=True, array_like=True):
    """What this side would like to have free on one lease."""

    number: int
    typical: int  # size of a usual hold
    ahead: int


class Lease:
    __slots__ = (
        *("amount", "average", "drawn", "exact", "held", "index", "low", "name", "number"),
        *("period", "rate", "renewing", "resets_wall", "step", "used", "used_at"),
    )

    def __init__(self, terms: Terms, now: float) -> None:
        self.number = terms.number
        self.period = terms.period
        self.index = terms.index
        self.resets_wall = terms.resets_wall
        self.exact = terms.exact
        self.name = name_of(terms.period)
        self.amount = self.held = self.used = 0
        self.average = 0  # of the holds
        self.low = 0  # with less than this free it should be renewed
        self.drawn = 0  # since the last look
        self.step = 0  # doubles when a call had to ask, so that a burst asks a few times only; halves with every look
        self.rate = 0.0  # drawn a second
        self.used_at = now
        self.renewing = False

    def __repr__(self) -> str:
        return f"Lease({self.period.account}, {self.period.unit}: {self.used} + {self.held} of {self.amount})"

    @property
    def free(self) -> int:
        return self.amount - self.held - self.used

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.number, self.average, max(2 * self.average, int(self.rate * AHEAD_S), self.step))

    def aim(self) -> None:
        """Half of what it should have free, as its use was lately."""
        self.low = 0 if self.exact or self.renewing else self.wanted.ahead // 2

    def await_more(self) -> Wanted:
        """Asked for once."""
        self.renewing, self.low = True, 0
        return self.wanted

    def give_back(self) -> int:
        """Everything that is free."""
        free = max(0, self.free)
        self.amount -= free
        return free


class Hold(Struct, frozen=True):
    """What one call keeps back."""

    id: str
    path: tuple[str, ...]
    draw: Amounts
    leases: tuple[Lease, ...]
    amounts: tuple[int, ...]  # one for each of them


class Leases:
    """`returns` gathers what is to be told the owner; whoever sends it empties it."""

    def __init__(self) -> None:
        self.returns: list[Returned] = []
        self.live: dict[str, Hold] = {}
        self._leases: dict[int, Lease] = {}
        self._unsettled: dict[str, tuple[tuple[Lease, int], ...]] = {}

    def __repr__(self) -> str:
        return f"Leases({len(self.live)} holds on {list(self._leases.values())})"

    def __len__(self) -> int:
        return len(self._leases)

    def take(self, lent: tuple[Terms, ...], now: float) -> tuple[Lease, ...]:
        """More was lent; the leases in the order of their terms."""
        return tuple([self._more(terms, now) for terms in lent])

    def hold(self, id: str, path: tuple[str, ...], leases: tuple[Lease, ...], *, draw: Amounts, wall: float) -> bool:
        """On all of the leases, or on none: False, and the owner must be asked."""
        needs = draw.by_index
        for lease in leases:
            if needs[lease.index] > lease.amount - lease.held - lease.used or wall >= lease.resets_wall:
                return False
        amounts = tuple([needs[lease.index] for lease in leases])
        for lease, need in zip(leases, amounts):  # noqa: B905  (made side by side)
            lease.held += need
            lease.drawn += need
            average = lease.average
            lease.average = average + (need - average) // SMOOTHING if average else need
        self.live[id] = Hold(id, path, draw, leases, amounts)
        return True

    def lacking(self, id: str, total: Amounts) -> Amounts | None:
        """What has to be lent before the hold can be raised to `total`. None: nothing."""
        hold = self.live[id]
        needs = total.by_index
        if all(needs[lease.index] - held <= lease.free for lease, held in _pairs(hold)):
            return None
        more = [max(0, need - drawn) for need, drawn in zip(needs, hold.draw.by_index, strict=True)]
        return Amounts(more[0], more[1], more[2], more[3], more[4], more[5])

    def extend(self, id: str, total: Amounts) -> bool:
        """Raises a hold in the windows it was taken in."""
        if self.lacking(id, total) is not None:
            return False
        hold, needs = self.live[id], total.by_index
        amounts = tuple([max(held, needs[lease.index]) for lease, held in _pairs(hold)])
        for (lease, held), amount in zip(_pairs(hold), amounts, strict=True):
            lease.held += amount - held
            lease.drawn += amount - held
        draw = Amounts(*map(max, hold.draw.by_index, needs))
        self.live[id] = Hold(id, hold.path, draw, hold.leases, amounts)
        return True

    def post(self, id: str, used: Amounts, now: float) -> tuple[Charge, ...] | None:
        """Something was sent. None: the hold has ended before."""
        hold = self.live.pop(id, None)
        if hold is None:
            return None
        figures = (used.usd_nanos, used.tokens, None, None, 0, used.usd_nanos)  # in the order of `Amounts.by_index`
        charges: list[Charge] = []
        moves: list[tuple[Lease, int]] = []
        for lease, held in zip(hold.leases, hold.amounts):  # noqa: B905  (made side by side)
            figure = figures[lease.index]
            amount = held if figure is None else figure
            lease.held -= held
            lease.used_at = now
            if amount != held:
                lease.drawn += amount - held
            if amount:
                lease.used += amount
                charges.append(Charge(lease.period, amount))
                moves.append((lease, amount))
            if lease.exact:
                self._return(lease)
        if moves:
            self._unsettled[id] = tuple(moves)
        return tuple(charges)

    def void(self, id: str, now: float) -> bool:
        hold = self.live.pop(id, None)
        if hold is None:
            return False
        for lease, held in _pairs(hold):
            lease.held -= held
            lease.drawn -= held
            lease.used_at = now
            if lease.exact:
                self._return(lease)
        return True

    def settle(self, id: str) -> tuple[Used, ...]:
        """The settlement of a call is on its way: what it used leaves the leases it was held on."""
        moves = self._unsettled.pop(id, ())
        for lease, amount in moves:
            lease.used -= amount
            lease.amount = max(0, lease.amount - amount)
        return tuple([(lease.number, amount) for lease, amount in moves])

    def recall(self, numbers: tuple[int, ...]) -> None:
        """The owner needs it: what is free goes back now, and what comes free later as soon as it does."""
        for number in numbers:
            lease = self._leases.get(number)
            if lease is not None:
                lease.exact = True
                self._return(lease)

    def grow(self, leases: tuple[Lease, ...]) -> None:
        """A call had to ask for these: they were too small."""
        for lease in leases:
            lease.step = 0 if lease.exact else min(2 * max(lease.step, lease.average), STEP_MAX * lease.average)

    def trim(self, leases: tuple[Lease, ...]) -> None:
        """The call that these were lent for has taken its part: of exact ones the rest goes back."""
        for lease in leases:
            if lease.exact:
                self._return(lease)

    def look(self, now: float, wall: float, passed_s: float) -> tuple[Wanted, ...]:
        """Every half second or so: idle leases go back. Returns what should be renewed."""
        wanted: list[Wanted] = []
        for lease in list(self._leases.values()):
            lease.rate += (max(0, lease.drawn) / passed_s - lease.rate) / 2
            lease.drawn = 0
            lease.step //= 2
            if wall >= lease.resets_wall or now - lease.used_at >= IDLE_S:
                self._return(lease)
                if not (lease.held or lease.used or lease.amount):
                    del self._leases[lease.number]
                    self.returns.append((lease.number, CLOSED))
                continue
            lease.aim()
            if lease.free < lease.low:
                wanted.append(lease.await_more())
        return tuple(wanted)

    def short(self, leases: tuple[Lease, ...]) -> tuple[Wanted, ...]:
        """Half of what these should have free is gone."""
        wanting = [lease for lease in leases if lease.amount - lease.held - lease.used < lease.low]
        return tuple([lease.await_more() for lease in wanting]) if wanting else ()

    def _more(self, terms: Terms, now: float) -> Lease:
        lease = self._leases.get(terms.number)
        if lease is None:
            lease = self._leases[terms.number] = Lease(terms, now)
        lease.amount += terms.amount
        lease.exact = terms.exact
        lease.index = terms.index  # a reload may have made a soft limit a hard one
        lease.resets_wall = terms.resets_wall
        lease.renewing = False
        lease.aim()
        return lease

    def _return(self, lease: Lease) -> None:
        free = lease.give_back()
        if free:
            self.returns.append((lease.number, free))


def _pairs(hold: Hold) -> list[tuple[Lease, int]]:
    return list(zip(hold.leases, hold.amounts, strict=True))
