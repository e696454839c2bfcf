"""What a call has that joined another: an attempt without an upstream, and a reply that somebody else reads.

To the rest of the gate it is both an `Exchange` and a `Reading`, so the way of a reply to its client is the same. It
costs nothing, and ending it settles nothing: it lets go of the call that it follows, which ends when nobody is left.
"""

from __future__ import annotations

from policies.cache_rules import why_not_shared
from policies.settle import Ending
from proxy.alarm import Alarm
from proxy.clock import Clock
from proxy.dialects.base import Passage
from proxy.errors import ProxyError
from proxy.execution.flight import Flight, Replied
from proxy.execution.flights import Flights
from proxy.execution.meter import Meter
from proxy.execution.reading import Reading
from proxy.execution.record import Record
from proxy.types import AbortRule, Target


class Following:
    """From the moment it joins until `end`. What is said of the reply is known once it has `begun`."""

    def __init__(self, flight: Flight, record: Record, clock: Clock, *, retries: bool = True) -> None:
        """`retries`: it is the same call once more, so what forbade one of them forbids the other."""
        self.first = b""  # all that has been written when it begins
        self.reading: Reading | None = None  # it has none of its own
        self.meter: Meter | None = None  # nor any money
        self.abort: AbortRule = "stops"
        self.cut_short = False
        self.fault: ProxyError | None = None
        self._at = 0  # pieces that it has read
        self._clock = clock
        self._ended = False
        self._flight = flight
        self._record = record
        self._retries = retries
        flight.join()
        record.begin(self, clock.now())
        record.decided(clock.now(), f"joined the call {flight.call.id}, which was running")

    def __repr__(self) -> str:
        return f"Following({self._flight!r}, {self._at} pieces read, ended={self._ended})"

    async def begun(self) -> bool:
        """Waits for the first of the reply. False: the call has ended without one, for a reason of its own. Raises the
        error with which it failed."""
        flight = self._flight
        while not (flight.whole or flight.pieces):
            if flight.error is not None and self._shares(flight.error):
                raise flight.error.with_traceback(None)  # many raise it, and each would lengthen it
            if flight.closed:
                return False
            await flight.news()
        self._record.plan, self._record.served_by = flight.plan, "join"
        self.first = self._taken() if flight.streams else self._reply.first
        return True

    def _shares(self, error: ProxyError) -> bool:
        """What it was refused with, and its deadline, are its own."""
        return (self._retries or error.source == "upstream") and error.code != "deadline_exceeded"

    async def end(self, ending: Ending, error: ProxyError | None = None) -> None:
        """Lets go of the call. The second time: nothing."""
        if not self._ended:
            self._ended = True
            self._record.end(self, self._clock.now())
            self._flight.leave()

    # --- as an attempt -----------------------------------------------------------------------------------------------

    @property
    def target(self) -> Target:
        assert self._flight.answer is not None  # it has begun
        return self._flight.answer[0].target

    @property
    def clamped_to(self) -> int | None:
        assert self._flight.answer is not None  # it has begun
        return self._flight.answer[0].clamped_to

    def cut(self) -> bytes:
        """Nothing: what was cut of the other's is cut of this."""
        return b""

    # --- as a reply --------------------------------------------------------------------------------------------------

    @property
    def streams(self) -> bool:
        return self._flight.streams

    @property
    def passage(self) -> Passage | None:
        return self._reply.passage

    @property
    def content_type(self) -> str:
        return self._reply.content_type

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return self._reply.headers

    @property
    def target_id(self) -> str:
        return self.target.id

    @property
    def more(self) -> bool:
        flight = self._flight
        return not flight.whole or self._at < flight.dropped + len(flight.pieces)

    async def read(self) -> bytes | None:
        """All that has been written since; None at the end. Raises the error with which the call has failed, and
        ConnectionError where this client is too far behind."""
        flight = self._flight
        while self._at == flight.dropped + len(flight.pieces):
            if flight.whole:
                return None
            if flight.error is not None:
                raise flight.error.with_traceback(None)
            if flight.closed:
                if self.passage is not None and self.passage.terminal:
                    return None  # its end marker is there, and only its own client has not taken it
                raise ProxyError("upstream_broken", "The call that this one had joined ended before its reply did.")
            await flight.news()
        return self._taken()

    async def read_trailer(self) -> None:
        """Nothing follows its end."""

    @property
    def _reply(self) -> Replied:
        assert self._flight.answer is not None  # it has begun
        return self._flight.answer[1]

    def _taken(self) -> bytes:
        flight = self._flight
        if self._at < flight.dropped:
            raise ConnectionResetError("the client read too slowly")
        data = b"".join(flight.pieces[self._at - flight.dropped :])
        self._at = flight.dropped + len(flight.pieces)
        return data


Joined = tuple[Following, Following]  # as the attempt, and as its reply


async def join(flights: Flights, record: Record, clock: Clock) -> Following | None:
    """The reply of the same call that runs, at its beginning; None: there is none, and this call goes on in its place.
    Raises ProxyError: that call's, or that the deadline of this one has passed. Where it only asked the same, one
    failure of an upstream is passed over: whoever comes first tries again, and a second is everybody's."""
    call, failed = record.call, False
    while (flight := _same(flights, record)) is not None:  # ends: each round, one of them has ended
        retries = record.wanted is None
        following = Following(flight, record, clock, retries=retries)
        try:
            with Alarm(call.deadline):
                begun = await following.begun()
        except TimeoutError:
            await following.end("abandoned")
            message = "The deadline of this call passed before the call that it had joined was answered."
            raise ProxyError("deadline_exceeded", message) from None
        except ProxyError:
            await following.end("abandoned")
            if retries or failed:
                raise
            failed = True
            continue
        if begun and (why := _why_not_ours(flight, record)) is None:
            return following
        await following.end("abandoned")
        if begun:
            record.served_by = "none"
            record.plan = None
            record.decided(clock.now(), f"went its own way: {why}")
            if not flight.known:
                return None
    return None


def _why_not_ours(flight: Flight, record: Record) -> str | None:
    """A call of the same name gets what there is. Who only asked the same may want nothing that was known, or have more
    money."""
    wanted, theirs = record.wanted, flight.wanted
    if wanted is not None and theirs is not None and wanted.replay is not None and wanted.replay == theirs.replay:
        return None
    if flight.known:
        return "what the other call got was known before, and this one looks for itself"
    if wanted is None or theirs is None or record.call.identity == flight.call.identity:
        return None
    assert flight.answer is not None  # it has begun
    return why_not_shared(flight.plan, shortened=flight.answer[0].clamped_to is not None)


def _same(flights: Flights, record: Record) -> Flight | None:
    wanted = record.wanted
    found = None if wanted is None else flights.filling(wanted)
    if found is None and record.call.client_retry and (wanted is None or wanted.replay is None):
        found = flights.find(record.call)
    return found
