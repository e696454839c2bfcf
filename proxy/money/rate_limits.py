"""The rate limits of one process: which of them stand over a call, and the lines of those that wait for others to end.

A call that is too fast is refused at once and told when to come again. A call that only running calls of its own key
or agent stand in the way of waits for them, by priority and then in the order of arrival, for up to `wait_s`; while it
waits it has taken nothing. Whoever was admitted holds a `Quota`, which `finish` ends on every path. What fits is
`policies.rate_limit`'s word, who gives way when too many wait that of `policies.tiers`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from policies import rate_limit
from policies.rate_limit import Account, Limiter, Opening, RateRules, Standing
from policies.rate_refusal import rate_limited
from policies.tiers import TIERS, Crowd
from policies.usual_output import UsualOutput
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.line import Queueing, Unheard, Waits
from proxy.types import Attempt, Call

OnRefused = Callable[[str, str], None]  # (agent, kind of limit)


class Common(Protocol):
    """Limits that several gates count together."""

    async def ask(self, quota: Quota) -> bool:
        """For a call that what is in hand does not suffice for: whether it has been taken."""
        ...

    def moved(self, accounts: Sequence[Account]) -> None:
        """Something was taken there, or corrected. Must not wait."""
        ...


class Quota:
    """What one call takes from the limits of its key and agent. Ended exactly once, by `end`."""

    __slots__ = ("_admitted", "_limits", "_settled", "_taken_at", "accounts", "call", "tokens")

    def __init__(self, limits: RateLimits, accounts: tuple[Account, ...], call: Call) -> None:
        self._limits = limits
        self.accounts = accounts
        self.call = call
        self.tokens = limits.usual.tokens(call)  # as estimated
        self._taken_at = 0.0
        self._admitted = False
        self._settled = False

    def __repr__(self) -> str:
        return f"Quota({self.accounts}, {self.tokens} tokens, admitted={self._admitted})"

    async def admit(self) -> ProxyError | None:
        """Takes from all of them, or is refused and has taken nothing."""
        limits = self._limits
        if not limits.line_ahead(self.accounts) and (self.take() or await self._granted()):
            return None
        blocked = limits.line_ahead(self.accounts) or any(account.full for account in self.accounts)
        if self._wait_s() > 0.0 or not blocked:
            return self._refusal()
        return None if await limits.in_line(self) or await self._granted() else self._refusal()

    @property
    def fits(self) -> bool:
        """Whether it would be admitted now."""
        blocked = self._limits.line_ahead(self.accounts) or any(account.full for account in self.accounts)
        return not blocked and self._wait_s() <= 0.0

    def take(self) -> bool:
        now = self._limits.clock.now()
        if rate_limit.take(self.accounts, self.tokens, now):
            self._taken_at, self._admitted = now, True
            if self._limits.common is not None:
                self._limits.common.moved(self.accounts)
        return self._admitted

    async def _granted(self) -> bool:
        """Whether all gates together have room, and it has been taken; asked where only that can be in the way."""
        common = self._limits.common
        return common is not None and not any(account.full for account in self.accounts) and await common.ask(self)

    def blocked_by(self) -> Account:
        """The account whose running calls have to be waited for."""
        return next((account for account in self.accounts if account.full), self.accounts[0])

    def settle(self, attempts: Sequence[Attempt]) -> None:
        """The tokens that were really used take the place of the estimate. The second time: nothing."""
        if self._settled or not self._admitted:
            return
        self._settled = True
        used = 0
        for attempt in attempts:
            if attempt.usage is not None:
                used += attempt.usage.input_total + attempt.usage.output_total
        if attempts and (usage := attempts[-1].usage) is not None and attempts[-1].lesson == "success":
            self._limits.usual.learn(self.call, usage)
        if used != self.tokens:
            now = self._limits.clock.now()
            rate_limit.correct(self.accounts, used - self.tokens, self._taken_at, now=now)
            if self._limits.common is not None:
                self._limits.common.moved(self.accounts)

    def end(self, attempts: Sequence[Attempt]) -> None:
        """The call is over, however it went."""
        self.settle(attempts)
        if self._admitted:
            self._admitted = False
            for account in self.accounts:
                account.running -= 1
            self._limits.released(self.accounts)

    def standing(self, kind: Literal["requests", "tokens"]) -> Standing | None:
        return rate_limit.standing(self.accounts, kind, self._limits.clock.now())

    def _wait_s(self) -> float:
        now = self._limits.clock.now()
        return max(account.wait_s(self.tokens, now) for account in self.accounts)

    def _refusal(self) -> ProxyError:
        found = rate_limit.shortages(self.accounts, self.tokens, self._limits.clock.now())
        if not found:  # its turn came at the very end of its time
            account = self.accounts[0]
            found = (rate_limit.Shortage(account.name, "concurrency", account.rates.concurrency or 0, 0, 1, 1.0),)
        self._limits.on_refused(self.call.identity.agent, found[0].kind)
        return rate_limited(found)


class Ticket:
    """One call's place in a line."""

    __slots__ = ("agent", "quota", "tier", "turn", "waits")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.agent = quota.call.identity.agent
        self.tier = TIERS[quota.call.priority]
        self.waits = False
        self.turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class RateLimits:
    def __init__(
        self,
        rules: RateRules,
        clock: Clock,
        *,
        usual: UsualOutput,
        on_refused: OnRefused,
        queueing: Queueing | None = None,
        waits: Waits | None = None,
        opening: Opening = Account,
    ) -> None:
        """`opening` makes accounts, each with this process's part of its limits."""
        self.clock = clock
        self.usual = usual
        self.on_refused = on_refused
        self.limited = rules.any
        self.common: Common | None = None
        self.turned_away = 0  # because too many waited
        self._waits = waits or Unheard()
        self._limiter = Limiter(rules, opening=opening)
        self._queueing = queueing or Queueing()
        self._crowd: Crowd[Ticket] = Crowd()
        self._lines: dict[str, deque[Ticket]] = {}  # by the account that is waited for

    def __repr__(self) -> str:
        return f"RateLimits({self._limiter!r}, waiting={self.waiting})"

    @property
    def waiting(self) -> int:
        """Calls."""
        return len(self._crowd)

    @property
    def running(self) -> int:
        """Over all accounts; a call counts once for each that stands over it."""
        return self._limiter.running

    @property
    def dropped(self) -> int:
        """Agents that were forgotten, for want of room, while they had something to remember."""
        return self._limiter.dropped

    def quota(self, call: Call) -> Quota | None:
        """None: nothing limits this call. Asked only where `limited`."""
        identity = call.identity
        accounts = self._limiter.accounts(identity.key_id, identity.agent, self.clock.now())
        return Quota(self, accounts, call) if accounts else None

    def replace(self, rules: RateRules, queueing: Queueing) -> None:
        """Other limits, from now on; what was taken stays taken."""
        self._queueing = queueing
        self._limiter.replace(rules, self.clock.now())
        self.limited = rules.any
        for name in list(self._lines):
            self._serve_line(name)

    # --- lines ---------------------------------------------------------------------------------------------------

    def line_ahead(self, accounts: tuple[Account, ...]) -> str | None:
        """The account that others wait for already: whoever comes later stands behind them."""
        if not self._lines:
            return None
        return next((account.name for account in accounts if account.name in self._lines), None)

    async def in_line(self, quota: Quota) -> bool:
        """Whether its turn came; it has been taken then."""
        now = self.clock.now()
        left = self._queueing.patience_s(quota.call, now)
        if left <= 0.0 or not self._has_place(quota.call):
            return False
        ticket = Ticket(quota)
        self._stand(ticket)
        self._waits.began(quota.call.route)
        try:
            async with asyncio.timeout(left):
                return await ticket.turn
        except TimeoutError:
            return ticket.turn.done() and not ticket.turn.cancelled() and ticket.turn.result()
        finally:
            self._leave(ticket)
            self._waits.ended(quota.call.route, self.clock.now() - now)

    def _has_place(self, call: Call) -> bool:
        """Where too many wait, one that is less urgent gives way."""
        while self.waiting >= self._queueing.calls_max:  # ends: each time one leaves, or this one may not stay
            self.turned_away += 1
            last = self._crowd.gives_way(call.identity.agent, tier=TIERS[call.priority])
            if last is None:
                return False
            if not last.turn.done():
                last.turn.set_result(False)
            self._leave(last)
        return True

    def released(self, accounts: tuple[Account, ...]) -> None:
        if self._lines:
            for account in accounts:
                self._serve_line(account.name)

    def _stand(self, ticket: Ticket) -> None:
        name = self.line_ahead(ticket.quota.accounts) or ticket.quota.blocked_by().name
        line = self._lines.setdefault(name, deque())
        if line and line[-1].tier > ticket.tier:
            line.insert(next(at for at, other in enumerate(line) if other.tier > ticket.tier), ticket)
        else:
            line.append(ticket)
        self._crowd.add(ticket, ticket.agent, tier=ticket.tier)
        ticket.waits = True

    def _leave(self, ticket: Ticket) -> None:
        """Bounded by the lines that one call can stand in: those of its accounts. The second time: nothing."""
        if not ticket.waits:
            return
        ticket.waits = False
        self._crowd.remove(ticket, ticket.agent, tier=ticket.tier)
        for account in ticket.quota.accounts:
            line = self._lines.get(account.name)
            if line is not None and ticket in line:
                line.remove(ticket)
                if not line:
                    del self._lines[account.name]

    def _serve_line(self, name: str) -> None:
        """Lets in, from the front, whoever fits by now; bounded by the length of the line."""
        line = self._lines.get(name)
        while line:
            ticket = line[0]
            if not ticket.turn.done() and not ticket.quota.take():
                blocker = ticket.quota.blocked_by()
                if blocker.full and blocker.name == name:
                    return
                line.popleft()
                if blocker.full:  # it waits for its other account now, and has waited for long
                    self._lines.setdefault(blocker.name, deque()).appendleft(ticket)
                else:
                    ticket.turn.set_result(False)  # too fast by now
                continue
            line.popleft()
            if not ticket.turn.done():
                ticket.turn.set_result(True)
        self._lines.pop(name, None)
