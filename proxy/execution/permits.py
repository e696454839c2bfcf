"""Leave to ask a target: one permit an attempt, by the target's concurrency and rates, and the line of those that wait.

A permit is taken before an attempt is made and given back when the attempt ends, with what it really used. Where a
target has no room, calls wait in its line, whose order is `line`'s business. One timer a target looks at the line again
when its next call fits, so a herd leaves one by one at the target's own pace. What fits is `policies.provider_limits`'
word; who gives way when too many wait is `policies.tiers`'. Nothing in here awaits but the waiting itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from policies.concurrency import Explained
from policies.provider_limits import TargetLimits, TargetRules, ToldKind
from policies.rate_limit import Shortage
from policies.rate_refusal import overloaded, rate_limited
from policies.rooms import Rooms
from policies.tiers import Hold
from policies.usual_output import UsualOutput
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.line import Claim, Line, Lines, Progress, Queueing, Ticket, Unheard, Waits, nothing_yet
from proxy.execution.queues import Queue, Queues
from proxy.execution.told import take_in
from proxy.types import Call, Target, Usage

GLANCE_S: Final = 0.001  # timers are no finer
ASK_AGAIN_S: Final = 1.0  # at the earliest, where too many wait

OnRefused = Callable[[str, str], None]  # (agent, kind of limit)


class Permit:
    """Held by one attempt, from before it is sent until it has ended."""

    __slots__ = (
        *("_asked_requests", "_asked_tokens", "_claim", "_held", "_permits", "_room", "_share", "_taken_at", "_target"),
        "said",
    )

    def __init__(
        self, permits: Permits, room: TargetLimits, target: Target, *, claim: Claim, share: Hold[Waiter] | None
    ) -> None:
        """`share`: what it counts by among the agents; None where nothing is limited."""
        now = permits.clock.now()
        room.take(claim.tokens, now)
        self._asked_requests, self._asked_tokens = room.asked_requests, room.asked_tokens
        self._permits = permits
        self._room = room
        self._target = target
        self._claim = claim
        self._share = share
        self._taken_at = now
        self._held = True
        self.said = ""  # why its call had to wait, and where it stood; empty: it had not to

    def __repr__(self) -> str:
        return f"Permit({self._target.id}, {self._claim.tokens} tokens, held={self._held})"

    def release(self, billed: Usage | None) -> None:
        """The second time: nothing."""
        if not self._held:
            return
        self._held = False
        room, claim, permits = self._room, self._claim, self._permits
        room.release()
        now = permits.clock.now()
        if self._share is not None:
            units = permits.lines.of(self._target).ended(self._share, billed, now - self._taken_at)
            permits.lines.served(claim.call, units)
        if claim.tokens:
            used = 0 if billed is None else billed.input_total + billed.output_total
            if used != claim.tokens:
                room.correct(used - claim.tokens, self._taken_at, now)
            if billed is not None:
                permits.usual.learn(claim.call, billed)
        if permits.queues.calls:
            permits.released(self._target.provider)

    def learn(self, headers: tuple[tuple[str, str], ...]) -> None:
        """What the head of the reply said, of the target's limits among other things."""
        permits, room = self._permits, self._room
        if take_in(room, headers, permits.clock, requests=self._asked_requests, tokens=self._asked_tokens):
            permits.learned(room, self._target.provider)

    def answered(self, first_event_s: float, explained: Explained | None) -> None:
        """The first event came after so long; `explained`: what it should have taken, where that is known."""
        if self._room.answered(first_event_s, explained):
            self._permits.learned(self._room, self._target.provider)

    def timed_out(self) -> None:
        """No first event came in time."""
        if self._room.timed_out(self._permits.clock.now()):
            self._permits.learned(self._room, self._target.provider)

    def refused(self, alone_s: float) -> None:
        """The upstream answered 429: nothing is asked of it for so long."""
        self._room.refused(alone_s, self._permits.clock.now())
        self._permits.learned(self._room, self._target.provider)


class Waiter(Ticket):
    """`turn` gets the permit that was taken for it or the reason why not, or is cancelled with its call."""

    __slots__ = ("queue", "turn")

    def __init__(self, claim: Claim, steps: int) -> None:
        super().__init__(claim, steps)
        self.queue: Queue[Waiter] | None = None  # where it stands, until it goes or leaves
        self.turn: asyncio.Future[Permit | ProxyError] = asyncio.get_running_loop().create_future()

    @property
    def answer(self) -> Permit | ProxyError | None:
        return self.turn.result() if self.turn.done() and not self.turn.cancelled() else None


class Permits:
    def __init__(
        self,
        rules: TargetRules,
        clock: Clock,
        *,
        usual: UsualOutput,
        on_refused: OnRefused,
        queueing: Queueing | None = None,
        waits: Waits | None = None,
        share: float = 1.0,
        progress: Progress = nothing_yet,
    ) -> None:
        """`share`: this process's part of every limit, where several serve."""
        self.clock, self.usual = clock, usual
        self.on_refused, self.progress = on_refused, progress
        self.lines: Lines[Waiter] = Lines()
        self.turned_away = 0  # because too many waited
        self._waits = waits or Unheard()
        self._quiet = not rules.any  # nothing is known to limit any target
        self.rooms = Rooms(rules, share=share)
        self.queueing = queueing or Queueing()
        self.queues: Queues[Waiter] = Queues()

    def __repr__(self) -> str:
        return f"Permits({self.rooms}, {self.waiting} waiting)"

    @property
    def held(self) -> int:
        return self.rooms.running

    @property
    def waiting(self) -> int:  # calls
        return self.queues.calls

    def claim(self, call: Call) -> Claim:
        return Claim(call) if self._quiet else Claim(call, self.usual.tokens(call))

    def prefer(self, targets: tuple[Target, ...], tried: tuple[Target, ...], claim: Claim) -> tuple[Target, ...]:
        """Those that have room now and were not tried; else those that have room; else the one that will have it
        first."""
        if self._quiet or len(targets) == 1:
            return targets
        now = self.clock.now()
        ready = tuple([target for target in targets if self._has_room(target, claim, now)])
        if not ready:
            return (min(targets, key=lambda target: self.rooms.of(target, now).wait_s(claim.tokens, now)),)
        return tuple([target for target in ready if target not in tried]) or ready

    def ready(self, targets: tuple[Target, ...], claim: Claim) -> tuple[Target, ...]:
        """Those that could be asked without waiting."""
        if self._quiet:
            return targets
        now = self.clock.now()
        return tuple([target for target in targets if self._has_room(target, claim, now)])

    def at_once(self, target: Target, claim: Claim) -> Permit | None:
        """Without waiting, where nobody else waits. The caller owns the permit and releases it."""
        room = self.rooms.of(target, now := self.clock.now())
        if self._quiet:
            return Permit(self, room, target, claim=claim, share=None)
        if self.queues.has(target) or not room.fits(claim.tokens, now):
            return None
        return Permit(self, room, target, claim=claim, share=self.lines.of(target).pass_by(claim))

    async def acquire(self, target: Target, claim: Claim) -> Permit | ProxyError:
        """Waits in line for as long as may be. The error says when there will be room."""
        permit = self.at_once(target, claim)
        return await self._in_line(target, claim) if permit is None else permit

    def crowded(self, target: Target) -> tuple[Line[Waiter], TargetLimits] | None:
        """The line before a target where somebody waits, and its limits; None: there is none, or nobody does."""
        there = self.queues.has(target)
        return (self.lines.of(target), self.rooms.of(target, self.clock.now())) if there else None

    def ratio(self, target: str, kind: ToldKind) -> float:
        """What is left of the target's tightest limit, for the metrics; it may be asked from any thread."""
        return self.rooms.ratio(target, kind, self.clock.now())

    def replace(self, rules: TargetRules, queueing: Queueing) -> None:
        """Other limits, from now on; what was taken stays taken."""
        self.queueing = queueing
        self._quiet = self._quiet and not rules.any
        self.rooms.replace(rules, self.clock.now())
        for provider in self.queues.providers:
            self.released(provider)

    def released(self, provider: str) -> None:
        for queue in self.queues.in_turn(provider):
            self._serve(queue)

    def learned(self, room: TargetLimits, provider: str) -> None:
        self._quiet = self._quiet and not room.limited
        if self.waiting:
            self.released(provider)

    def _has_room(self, target: Target, claim: Claim, now: float) -> bool:
        return not self.queues.has(target) and self.rooms.of(target, now).fits(claim.tokens, now)

    async def _in_line(self, target: Target, claim: Claim) -> Permit | ProxyError:
        now = self.clock.now()
        room = self.rooms.of(target, now)
        patience = self.queueing.patience_s(claim.call, now)
        if patience <= 0.0 or room.wait_s(claim.tokens, now) > patience:
            return self._refusal(room, claim)
        waiter = self._queued(target, room, claim)
        if isinstance(waiter, ProxyError):
            return waiter
        self._waits.began(claim.call.route)
        try:
            async with asyncio.timeout(patience):
                answer = await waiter.turn
        except TimeoutError:
            answer = waiter.answer or self._refusal(room, claim)
        except asyncio.CancelledError:
            if isinstance(waiter.answer, Permit):
                waiter.answer.release(None)  # its turn had come just then
            raise
        finally:
            self._leave(waiter)
            self._waits.ended(claim.call.route, self.clock.now() - now)
        if isinstance(answer, Permit):
            answer.said = waiter.stood(target, self.clock.now() - now)
        return answer

    def _queued(self, target: Target, room: TargetLimits, claim: Claim) -> Waiter | ProxyError:
        """In its line, where others of other lines may have to give way to it."""
        waiter = Waiter(claim, self.progress(claim.call.identity))
        while self.waiting >= self.queueing.calls_max:  # ends: each time one leaves, or this one may not stay
            self.turned_away += 1
            last = self.queues.gives_way(waiter)
            if last is None:
                return self.overloaded(self.lines.of(target), room)
            self._turn_away(last)
        queue = waiter.queue = self.queues.open(target, room, self.lines.of(target))
        waiter.place = self.lines.place(claim.call, self.clock.now(), queue.line.rise_s(self.queueing.wait_s))
        self.queues.add(waiter, queue)
        self._serve(queue)
        return waiter

    def _turn_away(self, waiter: Waiter) -> None:
        if (queue := waiter.queue) is not None:
            if not waiter.turn.done():  # by a cancellation
                waiter.turn.set_result(self.overloaded(queue.line, queue.room))
            self._leave(waiter)

    def _leave(self, waiter: Waiter) -> None:
        """The second time, or after it went: nothing."""
        if (queue := waiter.queue) is not None:
            waiter.queue = None
            self.queues.remove(waiter, queue)
            self._serve(queue)

    def _serve(self, queue: Queue[Waiter]) -> None:
        """Lets go whoever fits by now; bounded by the length of the line."""
        if queue.timer is not None:
            queue.timer.cancel()
            queue.timer = None
        line, room = queue.line, queue.room
        while len(line):
            now = self.clock.now()
            waiter = line.first(now)
            if waiter.turn.done() or room.full:  # its call was cancelled and takes it out; or a permit must come back
                return
            wait = room.wait_s(waiter.claim.tokens, now)
            if wait > 0.0:
                queue.timer = asyncio.get_running_loop().call_later(max(wait, GLANCE_S), self._serve, queue)
                return
            waiter.queue = None
            self.queues.gone(waiter)
            waiter.turn.set_result(Permit(self, room, queue.target, claim=waiter.claim, share=line.take(now)))
        self.queues.close(queue)

    def _refusal(self, room: TargetLimits, claim: Claim) -> ProxyError:
        found = room.shortages(claim.tokens, self.clock.now())
        if not found:  # there is room, and others that came before wait for it
            found = (Shortage(room.own.name, "concurrency", 0, 0, 1, 1.0),)
        self.on_refused(claim.call.identity.agent, found[0].kind)
        return rate_limited(found)

    def overloaded(self, line: Line[Waiter], room: TargetLimits) -> ProxyError:
        return overloaded(room.own.name, max(line.drain_s(room.own.running), ASK_AGAIN_S))
