"""A committed stream, over as many upstreams as it takes: where one breaks off, another may go on.

Whether one may is the policy's word, what it is asked for and how its words are joined to those before is the
dialect's; here the attempt that died is settled, the next one is made, and the client is kept company meanwhile. If
nobody goes on, the error that broke the stream is raised, and says how much had been relayed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from math import inf

from msgspec import Struct, structs

from policies import survival
from policies.stall import WATCHED
from proxy.clock import Clock
from proxy.dialects.base import Dialect, Transcript
from proxy.errors import ProxyError
from proxy.execution.attempt import Exchange
from proxy.execution.bench import Broken, Rules
from proxy.execution.race import Answer, Race
from proxy.execution.record import Record
from proxy.last_word import LastWord
from proxy.relay import Downstream, Headers, Patience, Watch, relay
from proxy.types import Call, Plan

# Where the gate itself closes an exchange that could have gone on: the provider's abort rule says what that costs.
GAVE_UP = frozenset({"deadline_exceeded", "upstream_stalled"})


SettleAnswer = Callable[[Answer, bytes], Awaitable[None]]  # the answer, and what of it is still to go


class Rest(Struct, frozen=True):
    """`ask` asks the targets of `plan` for what follows after so many tokens."""

    ask: Call
    plan: Plan
    tokens: int


class Means(Struct, frozen=True):
    """What a stream is carried with."""

    clock: Clock
    dialect: Dialect
    race: Race
    rules: Rules
    patience: Patience


class Stream:
    """One call's. `carry` it once."""

    def __init__(self, means: Means, record: Record, downstream: Downstream) -> None:
        self._means = means
        self._record = record
        self._downstream = downstream
        self._relayed = 0  # tokens, by upstreams that broke off
        self._continued = 0

    def __repr__(self) -> str:
        return f"Stream({self._record!r}, continued={self._continued})"

    async def carry(self, answer: Answer, headers: Headers, settle: SettleAnswer | None) -> Answer:
        """The attempt that came to its end, or to that of its money. `settle`: asked before the last word goes out.
        Raises ProxyError, with every attempt settled."""
        record = self._record
        shown: Headers | None = headers
        exchange, reading = answer
        if exchange.may_be_continued and reading.passage is not None:
            record.transcript = self._means.dialect.transcript()
        while True:  # bounded by survival.CONTINUATIONS_MAX
            exchange, reading = answer
            try:
                await self._relay(answer, shown, settle)
                break
            except ProxyError as error:
                await exchange.end("abandoned" if error.code in GAVE_UP else "cut", error)
                answer = await self._next(exchange, error)
                shown = None
        watched = record.call.endpoint in WATCHED and not self._continued and not reading.cut_short
        if watched and record.gaps is not None:
            self._means.race.stalls.ended(exchange.target.id, record.gaps.gaps().counts)
        return answer

    async def _relay(self, answer: Answer, headers: Headers | None, settle: SettleAnswer | None) -> None:
        exchange, reading = answer
        record, means, downstream = self._record, self._means, self._downstream
        patience, idle_s = means.patience, exchange.idle_s(means.rules.timeouts)
        if idle_s < patience.idle_s:
            patience = structs.replace(patience, idle_s=idle_s)
        watch = Watch(record.call, patience, downstream, in_events=record.in_events)
        if settle is not None:
            downstream = LastWord(downstream, reading, partial(settle, answer))
        await relay(answer, downstream, record, headers=headers, watch=watch, clock=means.clock)

    async def _next(self, broken: Exchange, error: ProxyError) -> Answer:
        """Whoever goes on. Raises ProxyError where nobody does."""
        self._relayed += broken.output_seen
        last, transcript = error, self._record.transcript
        if transcript is not None:
            found = self._rest(transcript, broken, error)
            if isinstance(found, Rest):
                try:
                    return await self._resume(found, broken, error)
                except ProxyError as failed:
                    last = failed if failed.code == "deadline_exceeded" else error
                    found = failed.code if failed is not error else "there is no leave for another attempt"
            self._say(f"{broken.target.id} broke off and nobody goes on: {found}")
        last.details = {**last.details, "relayed_tokens": self._relayed, "target": broken.target.id}
        raise last

    def _rest(self, transcript: Transcript, broken: Exchange, error: ProxyError) -> Rest | str:
        """What is asked for, and of whom; or why nothing is."""
        begun, plan = transcript.begun(), self._record.plan
        assert plan is not None  # an attempt was made
        if (why := survival.why_not(error, self._continued)) is not None:
            return why
        if isinstance(begun, str):
            return begun
        heirs = survival.heirs(plan, broken.target)
        if not heirs:
            return "no other target has the same model and can"
        ask = self._means.dialect.continuing(self._record.call, begun)
        return Rest(ask, structs.replace(plan, steps=(heirs,), fallbacks=()), begun.tokens)

    async def _resume(self, rest: Rest, broken: Exchange, error: ProxyError) -> Answer:
        record, means = self._record, self._means
        patience = structs.replace(means.patience, idle_s=inf)  # an attempt has its own limits
        try:
            async with Watch(record.call, patience, self._downstream, in_events=True):
                answer = await means.race.run(record, rest.plan, means.rules, broken=Broken(error, rest.ask))
        except TimeoutError:
            message = "The deadline of this call passed while another upstream was asked to go on."
            raise ProxyError("deadline_exceeded", message) from None
        self._continued += 1
        self._say(
            f"{broken.target.id} broke off ({error.code}) after about {rest.tokens} tokens, "
            f"{answer[0].target.id} goes on"
        )
        return answer

    def _say(self, said: str) -> None:
        self._record.decided(self._means.clock.now(), said)
