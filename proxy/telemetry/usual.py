"""The recorders of the usual call: plain, answered by its first attempt, with a price.

Decides which calls are usual and finds their recorders at one look-up instead of eight; it counts nothing that
`metrics.py` would not count in the same place for any call. Nearly every plain call is usual, and each look-up of a
recorder reads memory that the calls in between have displaced.
"""

from __future__ import annotations

from msgspec import Struct

from proxy.telemetry.reading import ENDPOINTS
from proxy.telemetry.series import Histogram, Number, Table
from proxy.types import Attempt, Outcome


class Recorders(Struct, frozen=True):
    in_flight: Number
    requests: Number
    responses: Number
    attempts: Number
    duration: Histogram
    overhead: Histogram
    upstream_duration: Histogram
    cost: Histogram

    def observe(self, outcome: Outcome, attempt: Attempt, cost: int) -> None:
        self.in_flight.value -= 1
        self.requests.value += 1
        self.responses.value += 1
        self.attempts.value += 1
        duration = outcome.duration_s
        self.duration.observe(duration)
        self.overhead.observe(max(0.0, duration - outcome.upstream_s))
        self.upstream_duration.observe(attempt.duration_s)
        self.cost.observe_traced(cost, outcome.call.trace_id, outcome.call.arrived_wall + duration)


class UsualCalls:
    """Bounded by the names it is asked with: those of the configuration, as labels show them."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._found: dict[tuple[str, str, str, str], Recorders] = {}

    def __repr__(self) -> str:
        return f"UsualCalls({len(self._found)} found)"

    def recorders(self, route: str, agent: str, *, target: str, endpoint: str) -> Recorders:
        key = (route, agent, target, endpoint)
        found = self._found.get(key)
        if found is None:
            numbers, histograms = self._table.numbers, self._table.histograms
            found = self._found[key] = Recorders(
                in_flight=numbers["in_flight_requests"][route,],
                requests=numbers["requests_total"][route, agent, "ok"],
                responses=numbers["http_responses_total"][ENDPOINTS.get(endpoint, endpoint), "200"],
                attempts=numbers["upstream_attempts_total"][target, "first", "ok"],
                duration=histograms["request_duration_seconds"][route, "no", "ok"],
                overhead=histograms["overhead_seconds"][route,],
                upstream_duration=histograms["upstream_duration_seconds"][target, "ok"],
                cost=histograms["request_cost_usd"][route,],
            )
        return found


def usual_attempt(outcome: Outcome) -> Attempt | None:
    """The one attempt of a usual call; None for any other."""
    call, attempts = outcome.call, outcome.attempts
    if outcome.status != 200 or len(attempts) != 1 or outcome.error_code is not None or outcome.client_gone:
        return None
    attempt = attempts[0]
    plain = not call.head.stream and not call.client_retry
    well = attempt.role == "first" and attempt.error_code is None and attempt.lesson == "success"
    return attempt if plain and well and attempt.cost_usd_nanos is not None else None
