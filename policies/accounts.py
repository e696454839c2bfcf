"""Budgets of one process: holds that all accounts of a path admit together, or none is debited.

A hold is taken before anything is sent and ends once: posted with what was used, or voided when nothing was sent. It
belongs to the windows it was taken in, whenever it ends. Time comes as an argument, so what is past its time is told by
`expire`, and ended by the caller. How much to hold, and who pays for what, are the callers' business. Nothing in here
awaits: each operation is one step for everyone else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Final

from msgspec.structs import replace

from policies import admission
from policies.chart import Chart, Windows
from policies.limits import Crossing, Instant, Posting, Refusal, Rulebook, Standing, Totals
from policies.meter import Balance
from policies.roster import Bounds, Roster
from proxy.holds import Left, Reservation
from proxy.pressure import Pressure
from proxy.types import Amounts, Charge, Period, Unit

TOPUPS_MAX: Final = 4_096

CALM: Final = Pressure()


class Hold(Reservation, frozen=True):
    """What is kept back for one call, under an id that its caller made."""

    windows: Windows  # what it was taken from
    taken: tuple[int, ...]  # of each of their balances


class Accounts:
    def __init__(self, rules: Rulebook, bounds: Bounds | None = None, *, overrun_tolerance_usd_nanos: int = 0) -> None:
        self._roster = Roster(rules, bounds or Bounds(), tolerance=overrun_tolerance_usd_nanos)
        self._live: dict[str, Hold] = {}
        self._topups: OrderedDict[str, tuple[Period, ...]] = OrderedDict()

    def __repr__(self) -> str:
        return f"Accounts({len(self._live)} holds, {self._roster!r})"

    def __len__(self) -> int:
        """Accounts that are kept."""
        return len(self._roster)

    @property
    def live(self) -> int:
        """Holds that have not ended."""
        return len(self._live)

    @property
    def dropped_early(self) -> int:
        """Runs whose count was lost to the bound on runs before they had been idle for long."""
        return self._roster.dropped_early

    @property
    def forgotten(self) -> int:
        """How often an account or a limit, with its count, was gone from here or from a checkpoint."""
        return self._roster.forgotten

    def reserve(
        self, id: str, path: tuple[str, ...], *, ask: Callable[[Left], Amounts], at: Instant, ttl_s: float
    ) -> Hold | Refusal:
        """What `ask` makes of the room there is, of all accounts of the path, or of none. A repeat of a hold's id
        returns that hold while it is live; a refusal took nothing, so asking again is a new question."""
        chart = self._roster.chart(path, at)
        draw = ask(_left(chart))
        hold = self._live.get(id)
        if hold is not None:
            return hold
        windows = chart.windows
        taken = windows.pick(draw.by_index)
        refusal = admission.refusal(windows.balances, taken, wall=at.wall)
        if refusal is not None:
            return refusal
        for balance, amount in zip(windows.balances, taken):  # noqa: B905  (made side by side)
            balance.free -= amount
        for account in windows.accounts:
            account.holds += 1
        if chart.runs:
            self._roster.used(chart.runs, at.now)
        hold = self._live[id] = Hold(id, path, draw, at.now + ttl_s, windows, taken)
        return hold

    def extend(self, id: str, total: Amounts, *, wall: float) -> Hold | Refusal | None:
        """Raises a live hold to `total`, where that is more, in the windows it was taken in. None: it has ended."""
        hold = self._live.get(id)
        if hold is None:
            return None
        needs, balances = total.by_index, hold.windows.balances
        taken = tuple([max(held, needs[b.index]) for b, held in zip(balances, hold.taken, strict=True)])
        more = tuple([amount - held for amount, held in zip(taken, hold.taken, strict=True)])
        refusal = admission.refusal(balances, more, wall=wall, own=hold.taken)
        if refusal is not None:
            return refusal
        for balance, amount in zip(balances, more, strict=True):
            balance.free -= amount
        extended = self._live[id] = replace(hold, amounts=_larger(hold.amounts, total), taken=taken)
        return extended

    def post(self, id: str, used: Amounts) -> Posting | None:
        """Something was sent: requests and steps count as held, the rest as used. None: the hold has ended before."""
        hold = self._end(id)
        if hold is None:
            return None
        windows, usd_nanos, draw = hold.windows, used.usd_nanos, hold.amounts
        figures = (usd_nanos, used.tokens, draw.requests, draw.steps, 0, usd_nanos)  # in the order of `limits.index`
        amounts = windows.pick(figures)
        news = False
        for balance, held, amount in zip(windows.balances, hold.taken, amounts):  # noqa: B905  (made side by side)
            balance.free += held - amount
            reached = balance.used = balance.used + amount
            if amount > held or reached >= balance.mark:
                news = True
        if news or 0 in amounts:
            return _posting(hold, amounts)
        return Posting(tuple(map(Charge, windows.periods, amounts)))  # as of most calls

    def void(self, id: str) -> bool:
        """Nothing was sent, or it is known not to be billed. False: the hold has ended before."""
        hold = self._end(id)
        if hold is None:
            return False
        for balance, held in zip(hold.windows.balances, hold.taken, strict=True):
            balance.free += held
        return True

    def hand_over(self, id: str) -> Hold:
        """What was held stays held, by whoever takes it over: it is no hold of these accounts any more."""
        hold = self._live.pop(id)
        for account in hold.windows.accounts:
            account.holds -= 1
        return hold

    def expire(self, now: float) -> tuple[Hold, ...]:
        """Holds past their time. They stay until the caller ends them, and are told again until then."""
        return tuple(hold for hold in self._live.values() if hold.expires_at <= now)

    def adjust(self, periods: tuple[Period, ...], difference: Amounts, *, at: Instant) -> Posting:
        """Books what became known after a hold of these periods had ended. Closed windows block nobody: no effect."""
        charges: list[Charge] = []
        crossings: list[Crossing] = []
        for period in periods:
            amount = {"usd": difference.usd_nanos, "tokens": difference.tokens}.get(period.unit, 0)
            for balance in self._roster.known(period.account, at):
                if amount and balance.period == period:
                    charges.append(Charge(period, amount, balance.adjust(amount)))
                    crossings += balance.crossings()
        return Posting(tuple(charges), tuple(crossings))

    def resolve(self, period: Period, unresolved: int, spent: int, *, at: Instant) -> None:
        """What a crash had left open of one period turns out to be `spent`. No effect on a closed window."""
        for balance in self._roster.known(period.account, at):
            if balance.period == period:
                balance.resolve(unresolved, spent)

    def topup(self, id: str, account: str, *, unit: Unit, amount: int, at: Instant) -> tuple[Period, ...]:
        """Raises the account's limits in `unit` for their open windows, and lifts what an overrun blocks. Returns what
        was raised; none: no such limit. A repeat of the id changes nothing."""
        if amount <= 0:
            raise ValueError(f"A top-up of {amount} {unit} adds nothing.")
        if id in self._topups:
            return self._topups[id]
        balances = [balance for balance in self._roster.known(account, at) if balance.period.unit == unit]
        for balance in balances:
            balance.top_up(amount)
        periods = tuple(balance.period for balance in balances)
        if periods:
            self.remember(id, periods)
        return periods

    def remember(self, id: str, periods: tuple[Period, ...]) -> None:
        """A top-up that the ledger knows: a repeat of its id changes nothing."""
        self._topups[id] = periods
        if len(self._topups) > TOPUPS_MAX:
            self._topups.popitem(last=False)

    def seed(self, period: Period, totals: Totals, *, at: Instant) -> bool:
        """What the ledger knows of one period, at the start. False: the rules no longer have that limit."""
        return self._roster.restore(period, totals, at)

    def replace(self, rules: Rulebook) -> None:
        """Another set of limits, from now on; holds are kept, and so is all that was counted against a limit of the
        same unit and window, also where it comes back later."""
        self._roster.replace(rules)

    # --- questions ---------------------------------------------------------------------------------------------------

    def refusal(self, path: tuple[str, ...], draw: Amounts, *, at: Instant) -> Refusal | None:
        """What `reserve` would say. Nothing is taken."""
        windows = self._roster.chart(path, at).windows
        return admission.refusal(windows.balances, windows.pick(draw.by_index), wall=at.wall)

    def dismiss(self, path: tuple[str, ...], *, at: Instant) -> None:
        """Only questions were asked about this path: accounts of it that have nothing are not kept for that."""
        self._roster.dismiss(path, at)

    def limited(self, path: tuple[str, ...], *, at: Instant) -> bool:
        return bool(self._roster.chart(path, at).meters)

    def room(self, path: tuple[str, ...], *, at: Instant) -> Left:
        """What a call on this path may take, and how its limits want that held."""
        return _left(self._roster.chart(path, at))

    def pressure(self, path: tuple[str, ...], *, at: Instant) -> Pressure:
        """Of the limits in money and tokens; the others are no matter of degree. `CALM` where nobody would act on it:
        below the first rung, and with no pace."""
        balances = self._roster.chart(path, at).eased
        for balance in balances:
            if balance.free <= balance.plenty:
                return _tightest(balances)
        return CALM

    @property
    def names(self) -> tuple[str, ...]:
        """Of all accounts that are kept, the runs last and the latest of them first."""
        return self._roster.names

    def look(self, account: str, *, at: Instant) -> tuple[Standing, ...]:
        """As `state`, for whoever looks at many: an account that has not been opened yet has nothing."""
        return tuple(meter.at(at.wall).standing() for meter in self._roster.meters(account))

    def pace(self, account: str, *, at: Instant) -> None:
        """To be called every `forecast.EVERY_S`: moves the pace of each of the account's limits."""
        for meter in self._roster.meters(account):
            meter.set_pace(at.wall)

    def state(self, account: str, *, at: Instant) -> tuple[Standing, ...]:
        return tuple(balance.standing() for balance in self._roster.known(account, at))

    def _end(self, id: str) -> Hold | None:
        hold = self._live.pop(id, None)
        if hold is None:
            return None
        for account in hold.windows.accounts:
            account.holds -= 1
        return hold


def _larger(one: Amounts, other: Amounts) -> Amounts:
    return Amounts(*map(max, one.by_index, other.by_index))


def _posting(hold: Hold, amounts: tuple[int, ...]) -> Posting:
    """Of amounts that are counted already: what of them had no room, and which thresholds they have reached."""
    charges: list[Charge] = []
    crossings: list[Crossing] = []
    for balance, held, amount in zip(hold.windows.balances, hold.taken, amounts, strict=True):
        overrun = balance.overrun_of(amount - held) if amount > held else 0
        crossings += balance.crossings()
        if amount:
            charges.append(Charge(balance.period, amount, overrun))
    return Posting(tuple(charges), tuple(crossings), tuple([charge for charge in charges if charge.overrun]))


def _left(chart: Chart) -> Left:
    least: int | None = None
    for balance in chart.money:
        free = balance.free
        if free < 0 or (balance.overrun and balance.blocked):
            free = 0
        if least is None or free < least:
            least = free
    wanted = chart.demands
    return wanted if least is None else Left(least, wanted.strict, wanted.hard, wanted.soft, wanted.tokens)


def _tightest(balances: tuple[Balance, ...]) -> Pressure:
    tightest = max(balances, key=Balance.press)
    return Pressure(
        felt=tightest.felt,
        pace=max([balance.pace for balance in balances]),
        limit=tightest.limit,
        used=tightest.used,
        held=tightest.pending,
        period=tightest.period,
        resets_wall=None if tightest.resets_wall == inf else tightest.resets_wall,
    )
