"""The part of the catalog that tells of the store which several gates share."""

from __future__ import annotations

from proxy.telemetry import ladders
from proxy.telemetry.family import Label, counter, gauge, histogram

OPERATION = Label("op", ("rates", "get", "put", "ping"))
ASKED = Label("outcome", ("ok", "timeout", "error", "skipped"))
LINK = Label("state", ("closed", "open", "half_open"))

SHARED = (
    counter(
        "shared_operations_total", "Questions to the shared store; `skipped`: its breaker was open.", OPERATION, ASKED
    ),
    histogram("shared_seconds", ladders.WAIT, "How long the shared store took to answer, or not to.", OPERATION),
    gauge("shared_breaker_state", "1 for the state of the shared store's breaker, in any process.", LINK, merge="max"),
)
