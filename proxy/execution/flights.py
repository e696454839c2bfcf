"""The calls of one process that others can join, found by what they are.

A client's retry looks for the same tenant, agent, run and endpoint, and every byte of the body; a call that a cache or
the journal may answer, for the one that will fill its entry there. What joining means is `flight`'s.
"""

from __future__ import annotations

from policies.cache_rules import Wanted
from proxy.errors import ProxyError
from proxy.execution.flight import Flight, Place, Sharing
from proxy.types import Call


class Flights:
    """The calls of one process that can be joined."""

    def __init__(self) -> None:
        self.kept = 0  # bytes that their streams were granted
        self.kept_max = 0
        self._places: dict[Place, dict[Flight, None]] = {}
        self._filling: dict[bytes, Flight] = {}

    def __repr__(self) -> str:
        return f"Flights({sum(map(len, self._places.values()))} calls, {self.kept} bytes kept)"

    def begin(self, call: Call, client: Sharing, wanted: Wanted | None = None) -> Flight:
        place = _place(call)
        flight = Flight(self, call, client, place, wanted)
        self._places.setdefault(place, {})[flight] = None
        if wanted is not None:
            for name in wanted.names:
                self._filling.setdefault(name, flight)
        return flight

    def filling(self, wanted: Wanted) -> Flight | None:
        """The call whose answer will be what is wanted; for a call with a name of its own, the one of that name alone:
        another's answer would not stand in the journal under it. Raises ProxyError where the name stands for another
        question."""
        if wanted.replay is not None:
            found = self._filling.get(wanted.replay)
            if found is not None and found.wanted is not None and found.wanted.digest != wanted.digest:
                raise conflict()
            return found
        return self._filling.get(wanted.exact) if wanted.exact is not None and wanted.read else None

    def find(self, call: Call) -> Flight | None:
        """The newest that is the same call. Bodies are compared, not digests of them; only their hashes, which each
        body is asked for once, are compared first."""
        found, raw = self._places.get(_place(call)), call.raw
        if found is None:
            return None
        digest = hash(raw)
        for flight in reversed(found):
            if hash(flight.call.raw) == digest and flight.call.raw == raw:
                return flight
        return None

    def remove(self, flight: Flight, place: Place) -> None:
        """Nobody joins it any more."""
        flights = self._places[place]
        del flights[flight]
        if not flights:
            del self._places[place]
        if flight.wanted is not None:
            for name in flight.wanted.names:
                if self._filling.get(name) is flight:
                    del self._filling[name]

    def grant(self, size: int) -> bool:
        if size > 0 and self.kept + size > self.kept_max:
            return False
        self.kept += size
        return True


def conflict() -> ProxyError:
    message = "This idempotency key was used for another request before; send a new key with a new request."
    return ProxyError("idempotency_conflict", message, param="Idempotency-Key")


def _place(call: Call) -> Place:
    """Whose call it is, and what kind; the body's length spares most comparisons of bodies."""
    who = call.identity
    return (who.key_id, who.agent, who.run, who.parent_run, call.endpoint, call.head.content_type, len(call.raw))
