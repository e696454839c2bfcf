"""One target, once: hold the money, send, wait for the first event, and settle exactly once at the end.

An `Exchange` is opened by `open` and ended by `end`; whoever reads it last ends it, and `finish` ends what was left.
Up to the first event every failure is a `ProxyError`, settled, that the caller may answer with another attempt. What
a given ending costs is `policies.settle`'s word.
"""

from __future__ import annotations

from msgspec import structs

from policies import budget
from policies.budget import NO_LIMITS, Allowance
from policies.settle import Ending
from policies.stall import WATCHED
from proxy.alarm import Alarm
from proxy.errors import ProxyError
from proxy.execution import bill
from proxy.execution.bench import Bench, Errand, Timeouts
from proxy.execution.bill import Facts
from proxy.execution.ending import ending_of, lesson, too_late
from proxy.execution.meter import Meter
from proxy.execution.occupancy import Occupancy
from proxy.execution.reading import Reading
from proxy.execution.record import Record
from proxy.execution.steering import Trip
from proxy.holds import Left
from proxy.types import AbortRule, Amounts, Attempt, Usage

ROUNDING_S = 1e-3


class Exchange:
    """One attempt from its hold to its settlement. `reading` is there once the upstream has sent a head."""

    def __init__(self, bench: Bench, record: Record, errand: Errand) -> None:
        target, provider = errand.target, errand.provider
        self.target = target
        self.role = errand.role
        self.permit = errand.permit
        self.reading: Reading | None = None
        self.meter: Meter | None = None  # of a stream whose hold may not suffice
        self._ask = ask = errand.ask
        # Goes on with a stream that broke off elsewhere: then the text so far is part of what is held and paid for.
        self._continues = ask.head.begun is not None and ask.head.begun.opening != b""
        self._call = ask if self._continues or ask.raw is not record.call.raw else record.call
        if ask.hints is not None:
            self._call = structs.replace(self._call, hints=ask.hints)  # what they cost is held and paid for
        self._expected = bench.experience.expected(self._call, target)
        self._occupancy = None if provider.gpu is None else Occupancy.of(provider.gpu, target)
        if self._occupancy is not None:
            now = bench.clock.now()
            left_s = record.call.deadline - now
            self._expected = self._occupancy.foresee(self._expected, bench.experience, left_s=left_s, now=now)
        self._bench = bench
        self._record = record
        self._provider = provider
        self.trip: Trip | None = None  # once it has its money
        self._asked: Allowance | None = None
        self._allowance: Allowance | None = None  # once it is held
        self._started_at = bench.clock.now()
        self._first_event_at: float | None = None
        self._number = len(record.attempts) + len(record.open) + 1
        self._ended = False
        self._sent = False  # a byte of the request may have reached the upstream
        record.begin(self, self._started_at)
        bench.started(target)

    def __repr__(self) -> str:
        return f"Exchange({self._number}, {self.role}, {self.target.id}, ended={self._ended}, {self.reading!r})"

    @property
    def abort(self) -> AbortRule:
        return self.target.traits.abort

    @property
    def may_be_continued(self) -> bool:
        return self._ask.head.begun is not None

    @property
    def output_seen(self) -> int:
        """Output tokens that have come so far, by the meter or by bytes."""
        return bill.output_seen(self.reading, self._expected) if self.meter is None else self.meter.seen()

    @property
    def is_drained(self) -> bool:
        """Whether it is read to its end for the bill, whoever has left: its provider would go on all the same."""
        return self.abort == "continues" and self.reading is not None

    @property
    def told_limit(self) -> int | None:
        """Output tokens that the upstream was told to stay below."""
        return self._allowance.output_limit if self._allowance and self._allowance.clamped else None

    @property
    def clamped_to(self) -> int | None:
        """The same, where it is less than the client asked for."""
        told, stated = self.told_limit, self._record.call.head.output_tokens_max
        return told if told is not None and (stated is None or told < stated) else None

    async def open(self, timeouts: Timeouts) -> Reading:
        """The reply, begun: its first content event, or all of a plain one. Raises ProxyError, already settled."""
        if self._record.purse.limited:  # else nothing stands over this call, so there is nobody to ask
            taken = await self._record.purse.take(self._size)
            if isinstance(taken, ProxyError):
                self._withdraw()
                raise taken
            self._allowance = self._asked
        trip = self.trip = self._bench.steering.begin(self._ask, self.target, self.role)
        try:
            with Alarm(self._patience(timeouts), self._bench.alarms):
                request = self._provider.request(self._ask, self.target, self.told_limit)
                response = await self._provider.transport.send(request, self._mark_sent)
                self.reading = Reading(self._record.call, self._ask, self.target, self._provider, response)
                await self.reading.begin(timeouts.reply_bytes_max)
        except TimeoutError:
            error = too_late(self.target.id, self.reading, timeouts.first_token_s, over=self._over)
            call = self._record.call
            hasty = call.deadline - call.arrived_at < timeouts.deadline_s - ROUNDING_S
            late = not hasty and self._bench.steering.is_overdue(trip)
            if late or error.code == "upstream_timeout":
                self.permit.timed_out()  # a caller that cannot wait says nothing of the target
            await self.end("abandoned", error)
            raise error from None
        except ProxyError as error:
            await self.end(ending_of(self.reading, error), error)
            raise
        now = self._first_event_at = self._bench.steering.content(trip)
        self.permit.answered(now - trip.began_at, trip.explained)
        passage = self.reading.passage
        if passage is not None and self._allowance and self._allowance.left.metered and self._expected.watched:
            purse = self._record.purse
            self.meter = Meter(passage, purse, self.target, allowance=self._allowance, expected=self._expected)
            self.meter.marks = self.abort == "stops" and self._occupancy is None
            if self._occupancy is not None:
                self.meter.time_spent = self._time_spent
        return self.reading

    def idle_s(self, timeouts: Timeouts) -> float:
        """How long its stream may stand still."""
        if self._call.endpoint not in WATCHED:
            return timeouts.idle_s
        return min(timeouts.idle_s, self._bench.steering.stalls.limit_s(self.target.id))

    def cut(self) -> bytes:
        """The end for a client whose money is used up. The upstream is closed before it is told."""
        assert self.reading is not None  # what was never begun is not cut
        made = Usage(input_uncached=self._expected.input_tokens, output=self.output_seen)
        if self.abort != "continues":
            self.reading.close()
        return self.reading.cut(made)

    def cut_held(self) -> None:
        """The same, of a reply that is still in hand."""
        assert self.reading is not None  # what was never begun is not held
        self.reading.first += self.cut()

    def _patience(self, timeouts: Timeouts) -> float:
        """Until when the first event may take. A plain reply has no first event: all of it may take until the
        deadline."""
        call = self._ask
        if not call.head.stream:
            return call.deadline
        return min(call.deadline, self._started_at + timeouts.first_token_s)

    def _time_spent(self) -> int:
        return 0 if self._occupancy is None else self._occupancy.spent_usd_nanos(self._bench.clock.now())

    def _mark_sent(self) -> None:
        self._sent = True
        if self.trip is not None:
            self.trip.asked = True
        if self._occupancy is not None:
            self._occupancy.start(self._bench.clock.now())

    async def end(self, ending: Ending, error: ProxyError | None = None) -> None:
        """Closes the connection, settles the hold, and writes the attempt into the record. The second time: nothing."""
        if self._occupancy is not None:
            self._occupancy.end(self._bench.clock.now())  # before the tokens are counted, which is none of its time
        known = self.target.traits.vocabulary
        counted = await self._counted(known) if known is not None and ending == "complete" else None
        if self._ended:
            return
        self._ended = True  # nothing below gives way to a cancellation
        if not self._sent:
            ending = "unsent"
        if self.reading is not None:
            self.reading.close()
        now, taken = self._bench.clock.now(), self._allowance is not None
        facts = self._facts(ending, now)
        billed = bill.to_bill(facts, ending, counted)
        cost = bill.cost(facts, billed)
        if taken and facts.held is not None:
            self._record.purse.give_back(facts.held.amounts, bill.spent(facts, billed, cost), sent=self._sent)
        if taken or self._ask.head.stream:  # a plain answer teaches only what holds are made of
            self._learn(facts, ending, billed)
        attempt = self._attempt(facts, ending, error=error, billed=billed, cost=cost)
        record = self._record
        record.attempts.append(attempt)
        record.end(self, now)
        self.permit.release(billed)
        if self.trip is not None:
            self._bench.steering.end(self.trip, attempt)
        self._bench.ended(self.target)

    def _withdraw(self) -> None:
        """Nothing was held and nothing was sent: it has been no attempt."""
        self._ended = True
        self._record.withdraw(self)
        self.permit.release(None)
        self._bench.ended(self.target)

    def _size(self, left: Left) -> Amounts:
        """As often as the accounts ask; the last answer counts."""
        self._asked = self._sized(left)
        return self._asked.amounts

    def _sized(self, left: Left) -> Allowance:
        plan = self._record.plan
        output_max = plan.output_tokens_max if plan is not None else None
        if output_max is not None and self._call.head.begun is not None:
            output_max = max(1, output_max - self._call.head.begun.tokens)
        return budget.allowance(self._call, self.target, self._expected, left, output_max=output_max)

    @property
    def _over(self) -> bool:
        return self._bench.clock.now() >= self._record.call.deadline

    # --- the bill ------------------------------------------------------------------------------------------------

    def _facts(self, ending: Ending, now: float) -> Facts:
        held = self._allowance if self.meter is None else self.meter.allowance  # as the meter has raised it
        if held is None and ending not in ("complete", "unsent"):
            held = self._sized(NO_LIMITS)  # what was not held still says how long the answer may have become
        share = self._occupancy.share if self._occupancy is not None else None
        age_s = now - self._started_at
        seen, streamed = self.output_seen, self._ask.head.stream
        if self.reading is not None and self.reading.unread and held is not None:
            seen += min(bill.output_unread(self.reading), max(0, held.output_max - seen))
        return Facts(self._call, self.target, self._expected, held, self.reading, seen, age_s, share, streamed)

    def _learn(self, facts: Facts, ending: Ending, billed: Usage | None) -> None:
        began = self._first_event_at if self._ask.head.stream else None
        stream_s = 0.0 if began is None else self._bench.clock.now() - began
        if self._occupancy is not None and ending == "complete":
            self._occupancy.learn(self._bench.experience)
        sample = bill.sample(facts, ending, billed, stream_s=stream_s)
        if sample is not None:
            if self._continues:
                sample = structs.replace(sample, whole=False)  # its length is not that of an answer
            self._bench.experience.ended(self._call, self.target, sample)

    async def _counted(self, vocabulary: str) -> int | None:
        """Output by the model's own tokenizer, where the upstream said nothing."""
        passage = self.reading.passage if self.reading is not None else None
        if passage is None or passage.usage is not None:
            return None
        text = passage.text()
        return None if text is None else await self._bench.count_text(text, vocabulary)

    def _attempt(
        self, facts: Facts, ending: Ending, *, error: ProxyError | None, billed: Usage | None, cost: int | None
    ) -> Attempt:
        reading, first, share = self.reading, self._first_event_at, facts.share
        held = facts.held if self._allowance is not None else None
        return Attempt(  # the first by position: see `Outcome` in `finish`
            self._number,
            self.role,
            facts.sold,
            self._started_at,
            facts.age_s,
            lesson(ending, error),
            billed,
            cost,
            held_usd_nanos=0 if held is None else held.amounts.usd_nanos,
            gpu_s=None if share is None else share.occupancy_s,
            idle_usd_nanos=0 if share is None else share.idle_usd_nanos,
            exposure_usd_nanos=bill.exposure_usd_nanos(facts, billed),
            first_event_s=None if first is None else first - self._started_at,
            status=None if reading is None else reading.status,
            error_code=None if error is None else error.code,
            upstream_request_id=None if reading is None else dict(reading.headers).get("x-request-id"),
        )
