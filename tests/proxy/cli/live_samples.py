"""Messages of the live feed, for whoever shows them."""

from __future__ import annotations

from msgspec.structs import replace

from proxy.telemetry.live_report import Delta, Event, Gauges, Second, Snapshot, Totals
from tests.proxy.cli.test_requests import ROW

AT_MS = 1_795_390_932_000  # 23:42:12
SECOND = Second(AT_MS, 4, 0, 0, 1_000_000, 100, 10, 2, 0, 0.2, 0.8)
PLANNER = Totals("planner", 10, 1, 2, 0, 20_000, 5_000, 900, 2_000_000, 0.25, 1.5, AT_MS - 5_000)
WRITER = replace(PLANNER, name="writer", calls=99, failed=0, cost_usd_nanos=1_000, first_token_p95_s=0.5)
TARGET = replace(PLANNER, name="up/small", hedges=3)
RUN = replace(PLANNER, name="team:red/trip-1", agent="planner", parent="trip-0")
BREAKER = Event(AT_MS, "breaker", "warning", {"target": "up/small", "state": "open"})
SNAPSHOT = Snapshot(
    at_ms=AT_MS,
    since_ms=AT_MS - 90_000,
    gauges=Gauges(in_flight=2, queued=1, saved_usd_nanos=5_000_000, hedges=3, out=("up/small",)),
    totals=replace(PLANNER, name="", calls=109),
    agents=[PLANNER, WRITER],
    routes=[replace(PLANNER, name="small")],
    targets=[TARGET, replace(TARGET, name="up/large", hedges=0)],
    runs=[RUN],
    calls=[replace(ROW, request_id="late"), replace(ROW, request_id="early", agent="writer", served_by="primary")],
    events=[BREAKER],
    series=[SECOND],
)


def delta(seconds: int = 1, *agents: Totals, **changes: object) -> Delta:
    """`seconds` after the snapshot."""
    at_ms = AT_MS + seconds * 1_000
    made = Delta(
        at_ms=at_ms,
        second=replace(SECOND, at_ms=at_ms),
        gauges=SNAPSHOT.gauges,
        totals=SNAPSHOT.totals,
        agents=[*agents],
        routes=[],
        targets=[],
        runs=[],
        calls=[],
        calls_left_out=0,
    )
    return replace(made, **changes)
