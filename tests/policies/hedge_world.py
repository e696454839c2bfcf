"""A world for the hedging policy alone: requests, attempts, a client who counts.

Discrete events in virtual seconds, the cold start included. How long an attempt takes is the business of the laws.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random

from policies.first_token import FirstTokens
from policies.hedge import Candidate, Hedge, Hedges, NoHedge, Overdue
from policies.retry import AttemptBudget
from proxy.types import Call, Target

DEADLINE_S = 600.0
ATTEMPTS_MAX = 3

Draw = Callable[[Random, Target, float], tuple[float, bool]]  # seconds, and whether it is an answer


@dataclass(frozen=True)
class Request:
    at: float
    call: Call
    targets: tuple[Target, ...]
    draw: Draw
    scale: float = 1.0  # what its time is divided by in the report


@dataclass
class Report:
    requests: int = 0
    calls: int = 0
    took: list[float] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def extra(self) -> float:
        """Upstream calls beyond one for each request, as a share of the requests."""
        return self.calls / self.requests - 1

    def quantile(self, share: float) -> float:
        ordered = sorted(self.took)
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]

    def ratio(self, share: float) -> float:
        return self.quantile(share) / self.quantile(0.5)


@dataclass
class _Running:
    """One request under way."""

    request: Request
    targets: dict[int, Target] = field(default_factory=dict)  # the attempts in the air, by number
    sent_at: dict[int, float] = field(default_factory=dict)
    tried: list[Target] = field(default_factory=list)
    hedged: bool = False


class World:
    def __init__(
        self, hedges: Hedges | float | None, known: FirstTokens, rng: Random, breaker: Breaker | None = None
    ) -> None:
        """`hedges`: the policy, a fixed delay in seconds, or nothing."""
        self.hedges, self.known, self.rng, self.breaker = hedges, known, rng, breaker
        self.budget = AttemptBudget()
        self.report = Report()
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.numbers = count()

    def at(self, when: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (when, next(self.numbers), act))

    def run(self, requests: Iterable[Request]) -> Report:
        self._next(iter(requests))
        while self.events:
            now, _, act = heapq.heappop(self.events)
            act(now)
        return self.report

    def _next(self, arriving: Iterator[Request]) -> None:
        request = next(arriving, None)
        if request is not None:
            self.at(request.at, lambda now: self._arrive(request, arriving, now))

    def _arrive(self, request: Request, arriving: Iterator[Request], now: float) -> None:
        self._next(arriving)
        self.report.requests += 1
        self._begin(_Running(request), now)

    def _begin(self, running: _Running, now: float) -> None:
        targets = running.request.targets
        closed = [target for target in targets if self.breaker is None or self.breaker.closed(target, now)]
        usable = closed or list(targets)
        target = self.rng.choice(usable)
        self._send(running, target, now)
        if self.hedges is None:
            return
        others = tuple(other for other in usable if other is not target) or (target,)
        if isinstance(self.hedges, float):
            self.at(now + self.hedges, lambda when: self._fixed(running, others[0], when))
            return
        delay = self.hedges.delay_s(running.request.call, target, others, now)
        if delay is not None:
            self.at(now + delay, lambda when: self._ask(running, target, others, when))

    def _send(self, running: _Running, target: Target, now: float) -> None:
        number = next(self.numbers)
        running.targets[number], running.sent_at[number] = target, now
        running.tried.append(target)
        self.report.calls += 1
        seconds, fine = running.request.draw(self.rng, target, now)
        end = self._answer if fine else self._fail
        if seconds < DEADLINE_S:
            self.at(now + seconds, lambda when: end(running, number, when))

    def _fixed(self, running: _Running, target: Target, now: float) -> None:
        if running.targets and not running.hedged:
            running.hedged = True
            self._send(running, target, now)

    def _ask(self, running: _Running, target: Target, others: tuple[Target, ...], now: float) -> None:
        if not running.targets or running.hedged or len(running.tried) > 1:
            return
        assert isinstance(self.hedges, Hedges)
        request = running.request
        age = now - request.at
        candidates = tuple(Candidate(other) for other in others)
        answer = self.hedges.fire(Overdue(request.call, target, age, candidates), now)
        reason = re.sub(r" \d.*", "", answer.reason)
        self.report.reasons[reason] = self.report.reasons.get(reason, 0) + 1
        if isinstance(answer, Hedge) and self.budget.withdraw(now):
            running.hedged = True
            self._send(running, answer.target, now)
        elif isinstance(answer, NoHedge) and answer.again_s is not None:
            self.at(now + answer.again_s, lambda when: self._ask(running, target, others, when))

    def _answer(self, running: _Running, number: int, now: float) -> None:
        target = running.targets.pop(number, None)
        if target is None:
            return
        call = running.request.call
        self._ended(running, number, now - running.sent_at[number], now)
        self.known.learn(call, target, now - running.sent_at[number], now)
        self._judge(target, True, now)
        for loser, other in running.targets.items():
            age = now - running.sent_at[loser]
            self.known.censored(call, other, age, now)
            self._ended(running, loser, age, now)
        running.targets.clear()
        self.budget.deposit(now)
        self.report.took.append((now - running.request.at) / running.request.scale)

    def _fail(self, running: _Running, number: int, now: float) -> None:
        target = running.targets.pop(number, None)
        if target is None:
            return
        self._ended(running, number, now - running.sent_at[number], now)
        self._judge(target, False, now)
        if not running.targets and len(running.tried) < ATTEMPTS_MAX:
            fresh = [other for other in running.request.targets if other not in running.tried]
            self._send(running, (fresh or list(running.request.targets))[0], now)

    def _ended(self, running: _Running, number: int, after_s: float, now: float) -> None:
        if isinstance(self.hedges, Hedges) and number == min(running.sent_at):
            self.hedges.primary_ended(running.request.call, running.tried[0], after_s, now)

    def _judge(self, target: Target, fine: bool, now: float) -> None:
        if self.breaker is not None:
            self.breaker.ended(target, fine, now)


class Breaker:
    """Just enough of one: a Wilson bound over the last 60 seconds, then closed for growing times."""

    def __init__(self) -> None:
        self.seen: dict[str, deque[tuple[float, bool]]] = {}
        self.until: dict[str, float] = {}
        self.opened: dict[str, int] = {}

    def closed(self, target: Target, now: float) -> bool:
        return now >= self.until.get(target.id, 0.0)

    def ended(self, target: Target, fine: bool, now: float) -> None:
        seen = self.seen.setdefault(target.id, deque(maxlen=200))
        seen.append((now, fine))
        while seen[0][0] <= now - 60:
            seen.popleft()
        if fine:
            return
        total, bad = len(seen), sum(not good for _, good in seen)
        z, share = 1.2816, bad / total
        spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
        low = (share + z * z / (2 * total) - spread) / (1 + z * z / total)
        if (total >= 20 and low > 0.25) or (total >= 5 and not any(good for _, good in list(seen)[-5:])):
            again = self.opened[target.id] = self.opened.get(target.id, -1) + 1
            self.until[target.id] = now + min(300.0, 5.0 * 2**again)
            seen.clear()
