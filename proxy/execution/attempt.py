"""One target, once: hold the money, send, wait for the first event, and settle exactly once at the end.

An `Exchange` is opened by `open` and ended by `end`; whoever reads it last ends it, and `finish` ends what was left.
Up to the first event every failure is a `ProxyError`, settled, that the caller may answer with another attempt. What
a given ending costs is `policies.settle`'s word.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct

from policies import budget
from policies.budget import Allowance
from policies.settle import Ending, Evidence, usage
from pricing.book import cost_usd_nanos
from proxy.alarm import Alarm
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.reading import Reading
from proxy.execution.record import Record
from proxy.providers.base import Provider
from proxy.types import AbortRule, Amounts, Attempt, Lesson, Role, Target, Usage

OVERLOADED = frozenset({"upstream_overloaded", "upstream_timeout", "upstream_stalled"})

CountText = Callable[[str, str], Awaitable[int | None]]  # (text, vocabulary) -> tokens; None: it could not be counted


class Timeouts(Struct, frozen=True):
    first_token_s: float
    reply_bytes_max: int


class Bench(Struct, frozen=True):
    """What every exchange works with; made once."""

    clock: Clock
    count_text: CountText
    started: Callable[[Target], None]
    ended: Callable[[Target], None]


class Exchange:
    """One attempt from its hold to its settlement. `reading` is there once the upstream has sent a head."""

    def __init__(self, bench: Bench, record: Record, provider: Provider, target: Target, *, role: Role) -> None:
        self.target = target
        self.role = role
        self.reading: Reading | None = None
        self._bench = bench
        self._record = record
        self._provider = provider
        self._allowance: Allowance | None = None  # once it is held
        self._started_at = bench.clock.now()
        self._first_event_at: float | None = None
        self._number = len(record.attempts) + len(record.open) + 1
        self._ended = False
        self._sent = False  # a byte of the request may have reached the upstream
        record.open.append(self)
        bench.started(target)

    def __repr__(self) -> str:
        return f"Exchange({self._number}, {self.role}, {self.target.id}, ended={self._ended}, {self.reading!r})"

    @property
    def abort(self) -> AbortRule:
        return self.target.traits.abort

    @property
    def clamped_to(self) -> int | None:
        """Output tokens that the upstream was told to stay below, where that is less than the client asked for."""
        return self._allowance.output_limit if self._allowance and self._allowance.clamped else None

    @property
    def _held_usd_nanos(self) -> int:
        return self._allowance.amounts.usd_nanos if self._allowance else 0

    def age_s(self, now: float) -> float:
        return now - self._started_at

    async def open(self, timeouts: Timeouts) -> Reading:
        """The reply, begun: its first content event, or all of a plain one. Raises ProxyError, already settled."""
        call = self._record.call
        try:
            await self._reserve()
            with Alarm(self._patience(timeouts)):
                request = self._provider.request(call, self.target, self.clamped_to)
                response = await self._provider.transport.send(request, self._mark_sent)
                self.reading = Reading(call, self.target, self._provider, response)
                await self.reading.begin(timeouts.reply_bytes_max)
        except TimeoutError:
            error = self._too_late(timeouts)
            await self.end("abandoned", error)
            raise error from None
        except ProxyError as error:
            await self.end(self._ending_of(error), error)
            raise
        self._first_event_at = self._bench.clock.now()
        return self.reading

    def _patience(self, timeouts: Timeouts) -> float:
        """Until when the first event may take. A plain reply has no first event: all of it may take until the
        deadline."""
        call = self._record.call
        if not call.head.stream:
            return call.deadline
        return min(call.deadline, self._started_at + timeouts.first_token_s)

    def _mark_sent(self) -> None:
        self._sent = True

    async def end(self, ending: Ending, error: ProxyError | None = None) -> None:
        """Closes the connection, settles the hold, and writes the attempt into the record. The second time: nothing."""
        counted = await self._counted() if ending == "complete" else None
        if self._ended:
            return
        self._ended = True  # nothing below gives way to a cancellation
        if not self._sent:
            ending = "unsent"
        if self.reading is not None:
            self.reading.close()
        billed = usage(self._evidence(ending, counted))
        cost = self._cost(billed)
        if self._allowance is not None:
            spent = Amounts(cost or 0, billed.input_total + billed.output_total if billed else 0)
            self._record.purse.give_back(self._allowance.amounts, spent, sent=self._sent)
        attempt = self._attempt(ending, billed, cost, error)
        record = self._record
        record.upstream_s += attempt.duration_s
        record.attempts.append(attempt)
        record.open.remove(self)
        self._bench.ended(self.target)

    async def _reserve(self) -> None:
        sized: list[Allowance] = []  # as often as the accounts asked

        def ask(left_usd_nanos: int | None) -> Amounts:
            sized.append(budget.allowance(self._record.call, self.target, left_usd_nanos))
            return sized[-1].amounts

        taken = await self._record.purse.take(ask)
        if isinstance(taken, ProxyError):
            raise taken
        self._allowance = sized[-1]

    def _too_late(self, timeouts: Timeouts) -> ProxyError:
        if self._bench.clock.now() >= self._record.call.deadline:
            return ProxyError("deadline_exceeded", "The deadline of this call passed before the model answered.")
        what = "answer" if self.reading is None else "produce its first token"
        return ProxyError("upstream_timeout", f"{self.target.id} did not {what} within {timeouts.first_token_s:g} s.")

    def _ending_of(self, error: ProxyError) -> Ending:
        if not error.sent:
            return "unsent"
        reading = self.reading
        if reading is None:
            return "cut"
        empty = reading.passage is not None and not reading.passage.content
        return "refused" if reading.status != 200 or (empty and error is reading.fault) else "cut"

    # --- the bill ------------------------------------------------------------------------------------------------

    def _cost(self, billed: Usage | None) -> int | None:
        if billed is None:
            return 0
        if self.target.price is None:
            return None
        cost = cost_usd_nanos(billed, self.target.price)
        return max(cost, self._held_usd_nanos) if "held" in billed.flags else cost

    def _evidence(self, ending: Ending, counted: int | None) -> Evidence:
        call, reading = self._record.call, self.reading
        passage = reading.passage if reading is not None else None
        reply = reading.reply if reading is not None else None
        reported = passage.usage if passage is not None else (reply.usage if reply is not None else None)
        output_seen = 0
        if passage is not None:
            output_seen = passage.output_tokens_seen()
        elif reply is not None:
            output_seen = (reply.text_bytes + 3) // 4
        return Evidence(
            ending=ending,
            reported=reported,
            input_estimate=call.input_tokens_estimate,
            output_seen=output_seen,
            seen_once=call.endpoint in ("chat", "completions"),
            counted_output=counted,
            watched=passage is not None or reading is None or call.head.stream,
            held_output=self._allowance.output_limit * call.head.choices if self._allowance else 0,
            choices=call.head.choices,
            context_tokens=self.target.traits.context_tokens,
            abort=self.abort,
        )

    async def _counted(self) -> int | None:
        """Output by the model's own tokenizer, where the upstream said nothing and the vocabulary is known."""
        vocabulary = self.target.traits.vocabulary
        passage = self.reading.passage if self.reading is not None else None
        if vocabulary is None or passage is None or passage.usage is not None:
            return None
        text = passage.text()
        return None if text is None else await self._bench.count_text(text, vocabulary)

    def _attempt(self, ending: Ending, billed: Usage | None, cost: int | None, error: ProxyError | None) -> Attempt:
        reading, first = self.reading, self._first_event_at
        headers = reading.headers if reading is not None else ()
        return Attempt(
            number=self._number,
            role=self.role,
            target=self.target,
            started_at=self._started_at,
            duration_s=self._bench.clock.now() - self._started_at,
            lesson=_lesson(ending, error),
            usage=billed,
            cost_usd_nanos=cost,
            held_usd_nanos=self._held_usd_nanos,
            first_event_s=None if first is None else first - self._started_at,
            status=reading.status if reading is not None else None,
            error_code=error.code if error else None,
            upstream_request_id=next((value for name, value in headers if name == "x-request-id"), None),
        )


def _lesson(ending: Ending, error: ProxyError | None) -> Lesson:
    if ending == "complete":
        return "success"
    if error is None or error.source != "upstream" or error.code == "upstream_rejected":
        return "ignore"
    return "overload" if error.code in OVERLOADED or error.status == 503 else "failure"
