"""Mode `single`: one answer, from as many attempts as it takes until the first byte of the reply, within limits.

A retry, a hedge and a fallback are attempts like the first: each with a permit, its part of the money and a lesson, and
all but the first are taken out of the one attempt budget that the whole gate shares. A target that was not tried yet is
tried at once; going back to one that failed waits for the jittered delay or for the upstream's own hint. Nothing begins
that the deadline would not see through. Which target, when to hedge and what an error allows are policies' words.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from policies import fallback
from policies.hedge import Hedge
from policies.provider_limits import UNNAMED_REFUSAL_S
from policies.retry import AttemptBudget
from proxy.errors import ProxyError
from proxy.execution.attempt import Exchange
from proxy.execution.bench import Bench, Broken, Errand, Rules
from proxy.execution.course import Course, Leg
from proxy.execution.duel import Duel
from proxy.execution.holding import gather, hold
from proxy.execution.permits import Permit, Permits
from proxy.execution.prompt_caching import TOKENS_LEAST as CACHED_LEAST
from proxy.execution.prompt_caching import PromptCaching
from proxy.execution.reading import Reading
from proxy.execution.record import Record
from proxy.observed import Spared
from proxy.tasks import Tasks
from proxy.types import Call, Plan, Role, Target

RETURN_JITTER: Final = 0.05
TOO_LATE: Final = "The call waited for its target for so long that its deadline would pass before an answer begins."
NOT_BUDGETED: Final = "a further attempt, not out of the attempt budget: the targets that are left are well"
BUDGET_EMPTY: Final = "no further attempt: the attempt budget is used up"

Answer = tuple[Exchange, Reading]  # nothing of it was written to the client yet


class Race:
    def __init__(self, bench: Bench, attempt_budget: AttemptBudget, permits: Permits, tasks: Tasks) -> None:
        self._bench = bench
        self.stalls = bench.steering.stalls
        self._steering = bench.steering
        self._clock = bench.clock
        self._permits = permits
        self._budget = attempt_budget
        self._tasks = tasks
        self._caching = PromptCaching(bench.clock)
        self._rng = bench.clock.rng("race")

    def usual(self, call: Call, target: Target) -> int | None:
        """The output of one choice that half of such answers stay below, where that is known."""
        return self._bench.experience.expected(call, target).q50

    async def run(
        self, record: Record, plan: Plan, rules: Rules, *, broken: Broken | None = None, leg: Leg | None = None
    ) -> Answer:
        """The exchange whose first event is in hand, or more of it where that is asked for. `broken`: it goes on with
        a stream, of which `plan` names the heirs. `leg`: it is one of several answers, whose caller says in the end
        which of them the client gets. Raises the last attempt's ProxyError when none got that far."""
        course = Course(record, plan, rules, self._permits.claim(record.call), leg)
        if broken is not None:
            self._resume(course, broken)
        elif plan.fallbacks:
            self._pass_over(course)
        if broken is None and record.call.input_tokens_estimate >= CACHED_LEAST:
            await self._look_at_prompt(course)
        try:
            while True:  # bounded by retry.attempts, and by the steps
                exchange = None
                try:
                    exchange = self._at_once(course) or await self._in_line(course)
                    delay = self._hedge_after(course, exchange)
                    if delay is None:
                        await exchange.open(rules.timeouts)
                    else:
                        exchange = await self._duel(course, exchange, delay)
                    reading = exchange.reading
                    assert reading is not None  # it has begun
                    if reading.gathers:
                        await gather(exchange, rules.timeouts, deadline=record.call.deadline, clock=self._clock)
                    elif rules.survival.hold_tokens and broken is None:
                        await hold(exchange, rules, deadline=record.call.deadline, clock=self._clock)
                except ProxyError as error:
                    await self._after(course, exchange, error)
                    continue
                if reading.headers:
                    exchange.permit.learn(reading.headers)
                record.answered = exchange
                self._caching.written(course.lead)
                if broken is None:
                    self._budget.deposit(self._clock.now())
                    record.served_by = course.served_by(exchange)
                return exchange, reading
        finally:
            self._caching.failed(course.lead)  # where it was not `written`

    async def _look_at_prompt(self, course: Course) -> None:
        """Before anything is chosen: whoever waits for another's prefix follows it to where that is."""
        record, providers = course.record, course.rules.providers
        sold = tuple([(providers[target.provider], target) for target in course.targets])
        course.asked = self._caching.look(record, sold)
        if course.asked is not None and course.leg is None:
            course.lead = await self._caching.turn(record, course.asked, sold)

    def _resume(self, course: Course, broken: Broken) -> None:
        """Raises the error that broke the stream where there is no leave for another attempt."""
        course.ask, course.failed = broken.rest, broken.error
        spent = course.attempts >= course.rules.retry.attempts
        if spent or not self._withdrawn(course, broken.error, self._clock.now()):
            raise broken.error

    def _pass_over(self, course: Course) -> None:
        """Where all targets of a step are out, its fallback is no second try: it is asked first."""
        plan, step = course.plan, 0
        while self._steering.all_out(course.ask, plan.steps[step]):
            out = ProxyError("upstream_unreachable", "All targets are out.", sent=False)
            following = fallback.next_step(plan, step, out)
            if following is None:
                return
            step = following
        if step:
            course.fall_back(step)
            self._say(course, f"all targets are out: falls back to {fallback.model_of(plan, step)!r} at once")

    # --- an attempt --------------------------------------------------------------------------------------------------

    def _at_once(self, course: Course) -> Exchange | None:
        """The next attempt, where nobody else waits for its target."""
        target = course.targets[0]
        if len(course.targets) > 1 or course.failed is not None:
            target = self._choose(course)
        course.chosen = target
        permit = self._permits.at_once(target, course.claim)
        return None if permit is None else self._exchange(course, target, permit, course.role)

    def _choose(self, course: Course) -> Target:
        targets = self._permits.prefer(course.targets, course.tried, course.claim)
        choice, course.panic = self._steering.choose(course.ask, targets, course.plan.balance, course.tried)
        course.record.decided(self._clock.now(), f"{choice.target.id} was {choice.reason}", choice)
        return choice.target

    async def _in_line(self, course: Course) -> Exchange:
        """The same, of a target that has no room yet. Raises ProxyError when it will not have any in time."""
        began = self._clock.now()
        permit = await self._permits.acquire(course.chosen, course.claim)
        now = self._clock.now()
        course.record.upstream_s += now - began  # the wait is the target's doing, not the gate's overhead
        course.record.spent("queue", course.chosen.id, began, now)
        if isinstance(permit, ProxyError):
            raise course.failed or permit
        if permit.said:
            self._say(course, permit.said)
        if self._steering.comes_too_late(course.ask, course.chosen):
            permit.release(None)
            raise course.failed or ProxyError("deadline_exceeded", TOO_LATE)
        return self._exchange(course, course.chosen, permit, course.role)

    def _exchange(self, course: Course, target: Target, permit: Permit, role: Role) -> Exchange:
        provider = course.rules.providers[target.provider]
        course.tried = (*course.tried, target)
        ask = self._caching.hinted(course.record, course.ask, course.asked, provider=provider, target=target)
        exchange = Exchange(self._bench, course.record, Errand(provider, target, role, ask, permit))
        if course.leg is not None:
            course.leg.made.append(exchange)
        return exchange

    def _learn(self, exchange: Exchange, error: ProxyError) -> float:
        """What a failed attempt tells of the target's limits; for how long it is to be left alone."""
        permit, refused = exchange.permit, error.code == "upstream_overloaded"
        # A refusal that says when to come back knows better than its figures.
        if exchange.reading is not None and not (refused and error.retry_after_s is not None):
            permit.learn(exchange.reading.headers)
        if not refused:
            return 0.0
        hint = UNNAMED_REFUSAL_S if error.retry_after_s is None else error.retry_after_s
        alone_s = hint * (1 + RETURN_JITTER * self._rng.random())  # other gates were told the same
        permit.refused(alone_s)
        return alone_s

    # --- a hedge -----------------------------------------------------------------------------------------------------

    async def _duel(self, course: Course, primary: Exchange, delay_s: float) -> Exchange:
        """The attempt, or the hedge that overtook it, at its first content."""
        duel = Duel(primary, partial(self._second, course, primary), course.rules.timeouts, self._tasks)
        try:
            winner = await duel.run(delay_s)
        finally:
            if duel.failed is not None:
                self._learn(*duel.failed)
        if duel.second is not None:
            loser = primary if winner is not primary else duel.second
            end = "was closed" if duel.failed is None else f"failed ({duel.failed[1].code})"
            self._say(course, f"{winner.target.id} was first, {loser.target.id} {end}")
        return winner

    def _hedge_after(self, course: Course, exchange: Exchange) -> float | None:
        """Seconds until a second copy is thought of; None: never."""
        if len(course.targets) == 1 or not course.ask.hedged or course.panic:
            return None
        if course.attempts >= course.rules.retry.attempts:
            return None
        others = tuple([target for target in course.targets if target is not exchange.target])
        return self._steering.hedges.delay_s(course.ask, exchange.target, others, self._clock.now())

    def _second(self, course: Course, primary: Exchange) -> Exchange | float | None:
        """The second copy; when to think of it again; None: never. Of targets where nobody waits."""
        now, claim = self._clock.now(), course.claim
        others = tuple([target for target in course.targets if target is not primary.target])
        ready = self._permits.ready(others, claim)
        if not ready or not self._budget.has_one(now):
            why = "the attempt budget is used up" if ready else "the other targets have no room"
            course.record.late(now, f"no hedge: {why}", "attempt_budget" if ready else "busy")
            return None
        assert primary.trip is not None  # it is late, so it has been sent
        free = course.record.purse.free_usd_nanos
        found = self._steering.hedge(primary.trip, ready, free_usd_nanos=free, usual=self.usual)
        if not isinstance(found, Hedge):
            if found.kind is not None:
                course.record.late(now, found.reason, found.kind)
            return found.again_s
        permit = self._permits.at_once(found.target, claim)
        if permit is None or not self._budget.withdraw(now):  # it has one: nothing came in between
            return None
        course.record.late(now, found.reason, None)
        return self._exchange(course, found.target, permit, "hedge")

    def _say(self, course: Course, reason: str) -> None:
        course.record.decided(self._clock.now(), reason)

    # --- after an error ----------------------------------------------------------------------------------------------

    async def _after(self, course: Course, exchange: Exchange | None, error: ProxyError) -> None:
        """Returns when the next attempt may begin. Raises the error where it is the call's end. `exchange` None: there
        was no leave to ask any target."""
        if exchange is not None:
            course.alone_s = self._learn(exchange, error)
        delay = self._again_s(course, error)
        if delay is None:
            raise error
        if delay > 0:
            await asyncio.sleep(delay)
            course.record.upstream_s += delay  # the pause is the upstream's doing, not the gate's overhead

    def _again_s(self, course: Course, error: ProxyError) -> float | None:
        """Seconds until the next attempt; None: there will be none."""
        step = fallback.next_step(course.plan, course.step, error)
        if error is not course.failed:  # else there was no leave for another attempt
            course.failed = error
            delay = self._retry_s(course, error, instead=step is not None)
            if delay is not None:
                return delay
        if step is None or self._clock.now() >= course.record.call.deadline:
            return None
        course.fall_back(step)  # it adds no load to what has failed, so it is not taken out of the budget
        self._say(course, f"{error.code}: falls back to {fallback.model_of(course.plan, step)!r}")
        return 0.0

    def _retry_s(self, course: Course, error: ProxyError, *, instead: bool) -> float | None:
        """Of the same step. `instead`: there is a fallback, which is better than to go back to one that failed."""
        if course.panic or not course.tried:
            return None
        delay = course.rules.retry.delay_s(course.attempts, error, self._rng)
        if delay is None:
            return None
        preferred = self._permits.prefer(course.targets, course.tried, course.claim)
        elsewhere = tuple([target for target in preferred if target not in course.tried])
        if instead and not elsewhere:
            return None
        delay = 0.0 if elsewhere else max(delay, course.alone_s)
        now = self._clock.now()
        if now + delay >= course.record.call.deadline:
            return None
        # Where those left are well, it adds no more to their load than if the one that failed were out.
        if self._steering.well(course.ask, elsewhere, self._budget.share):
            self._say(course, NOT_BUDGETED)
            return delay
        return delay if self._withdrawn(course, error, now) else None

    def _withdrawn(self, course: Course, error: ProxyError, now: float) -> bool:
        """Where the budget is used up, a retry of the client's would not be any better."""
        if self._budget.withdraw(now):
            return True
        error.client_may_retry = False
        course.record.decided(now, BUDGET_EMPTY, spared=Spared("retry", "attempt_budget"))
        return False
