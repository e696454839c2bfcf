"""The last question before anything is held: is it worth letting this call in?

A call that cannot end in time is told so at once, and where too many wait for its targets the less important ones are
turned away (`policies.shedding`) instead of all of them waiting in vain. Nothing in here waits. It learns how long
answers take from the outcomes of calls. Where a plan has a fallback for an overload, the call begins there.
"""

from __future__ import annotations

from policies.fallback import begun_at, next_step
from policies.gates import hopeless
from policies.service_time import ServiceTimes
from policies.shedding import rank
from policies.tiers import TIERS
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.off_peak import OffPeak
from proxy.execution.permits import Permits
from proxy.types import Call, Outcome, Plan, Target


class Admission:
    def __init__(self, permits: Permits, clock: Clock) -> None:
        self.shed = 0  # calls turned away so far
        self._permits = permits
        self._clock = clock
        self._times = ServiceTimes()
        self.off_peak: OffPeak | None = None  # None: nothing is held for a quiet time

    def __repr__(self) -> str:
        return f"Admission({self.shed} shed, {self._times})"

    def admit(self, call: Call, plan: Plan) -> Plan | ProxyError:
        """The plan, begun at a fallback where there is no room before; or why the call is not let in."""
        if not self._permits.queues.calls and call.deadline - self._clock.now() > self._times.longest_s:
            return plan  # as with most calls: nobody waits, and there is time for the longest of answers
        at, first = 0, None
        while True:  # ends: each time at a later step
            refusal = self._refusal(call, plan.steps[at])
            if refusal is None:
                return plan if at == 0 else begun_at(plan, at)
            first = first or refusal
            following = next_step(plan, at, refusal)
            if following is None:
                self.shed += first.code == "overloaded"
                return first
            at = following

    def p99_s(self, call: Call, target: Target) -> float:
        """Of such answers, however long ago; 0: nothing is known."""
        return self._times.p99_s(_whose(call), target.id)

    def observe(self, outcome: Outcome) -> None:
        if outcome.error_code is not None:
            return
        agent, now = _whose(outcome.call), self._clock.now()
        for attempt in outcome.attempts:
            if attempt.lesson == "success":
                self._times.ended(agent, attempt.target.id, seconds=attempt.duration_s, now=now)

    def _refusal(self, call: Call, targets: tuple[Target, ...]) -> ProxyError | None:
        """Of a step: if one of its targets can do it, none."""
        now, found = self._clock.now(), None
        for target in targets:
            refusal = self._refused(call, target, now)
            if refusal is None:
                return None
            if found is None or found.code != "overloaded":
                found = refusal
        return found

    def _refused(self, call: Call, target: Target, now: float) -> ProxyError | None:
        service_s = self._times.median_s(_whose(call), target.id, now) or 0.0
        crowd = self._permits.crowded(target)
        if crowd is None:
            return hopeless(call, 0.0, service_s, now) if service_s else None
        line, room = crowd
        running = room.own.running
        line.look(running, self._permits.queueing.goal_s, now)
        refusal = hopeless(call, line.wait_s(call, running), service_s, now)
        if refusal is None and line.shedder.overloaded and self._rank(call) < line.shedder.level:
            refusal = None if line.spares(call) else self._permits.overloaded(line, room)
        return refusal

    def _rank(self, call: Call) -> float:
        who = call.identity
        return rank(TIERS[call.priority], self._permits.progress(who), who.run or who.parent_run or call.id)


def _whose(call: Call) -> str:
    """Names of agents are their callers' own: by them alone one tenant's answers would speak for another's."""
    return f"{call.identity.key_id}/{call.identity.agent}"
