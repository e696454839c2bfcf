"""The part of the catalog that a load test fills in about itself, so that its users stand beside what they caused."""

from __future__ import annotations

from proxy.telemetry.family import Label, gauge

TEST, SCENARIO = Label("test"), Label("scenario")

LOAD = (
    gauge("loadtest_users", "Users of a load test, as it says itself.", TEST, SCENARIO),
    gauge("loadtest_info", "1 for each load test that has said within half a minute that it runs.", TEST, SCENARIO),
)
