"""Outcomes for tests of the ledger: one by hand, or any that Hypothesis can think of."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.types import Attempt, Call, Head, Identity, Outcome, Plan, RunSource, Usage
from tests import build

PLAN = Plan(mode="single", steps=((build.target(), build.target("other/model")),), reason="as configured")


def call(
    id: str = "req-1",
    *,
    agent: str = "a",
    run: str | None = None,
    parent: str | None = None,
    at_s: float = 0.0,
    team: str | None = None,
) -> Call:
    source: RunSource = "path" if run else "none"
    who = Identity(key_id="k", agent=agent, team=team, run=run, parent_run=parent, run_source=source)
    base = build.call("smart", head=Head(model="smart", stream=True), identity=who)
    return replace(base, id=id, arrived_at=base.arrived_at + at_s, arrived_wall=base.arrived_wall + at_s)


def attempt(id: str = "up/model", *, cost: int | None = 1_000, usage: Usage | None = None, number: int = 1) -> Attempt:
    return Attempt(
        number=number,
        role="first" if number == 1 else "retry",
        target=build.target(id),
        started_at=1000.25,
        duration_s=1.5,
        lesson="success",
        usage=build.usage() if usage is None else usage,
        cost_usd_nanos=cost,
        held_usd_nanos=5_000,
        first_event_s=0.5,
        status=200,
    )


def outcome(of: Call | None = None, *attempts: Attempt, duration_s: float = 2.0) -> Outcome:
    return Outcome(
        call=of or call(),
        plan=PLAN,
        attempts=attempts or (attempt(),),
        status=200,
        duration_s=duration_s,
        served_by="primary",
        upstream_s=1.5,
        bytes_out=77,
    )


def refused(of: Call | None = None) -> Outcome:
    return Outcome(
        call=of or call(),
        plan=None,
        attempts=(),
        status=429,
        duration_s=0.001,
        error_code="budget_exceeded",
        error_source="policy",
    )


COUNTS = st.integers(0, 10**7)
TEXTS = st.text(max_size=8)  # any characters, NUL and lone surrogates of broken headers among them
NAMES = st.sampled_from(("a", "b", "ü")) | TEXTS.filter(bool)
USAGES = st.builds(
    Usage,
    *(COUNTS for _ in range(9)),
    source=st.sampled_from(("reported", "counted", "estimated")),
    flags=st.lists(st.sampled_from(("clamped", "unknown_field")), max_size=2).map(tuple),
)
ATTEMPTS = st.builds(
    Attempt,
    number=st.integers(1, 3),
    role=st.sampled_from(("first", "retry", "hedge")),
    target=st.sampled_from((build.target(), build.target("other/model", price=None))),
    started_at=st.floats(1000.0, 2000.0),
    duration_s=st.floats(0.0, 100.0),
    lesson=st.sampled_from(("success", "failure", "overload", "ignore")),
    usage=st.none() | USAGES,
    cost_usd_nanos=st.none() | st.integers(0, 10**12),
)
IDENTITIES = st.builds(
    Identity,
    key_id=st.sampled_from(("k1", "k2")),
    agent=NAMES,
    team=st.none() | NAMES,
    run=st.none() | NAMES,
    parent_run=st.none() | NAMES,
    step=st.none() | st.integers(0, 2**70),
    tags=st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple),
)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    of = replace(build.call(draw(NAMES)), id=draw(NAMES), identity=draw(IDENTITIES))
    attempts = tuple(draw(st.lists(ATTEMPTS, max_size=3)))
    error_code = draw(st.none() | st.sampled_from(("upstream_error", "client_closed")))
    plan = draw(st.sampled_from((None, PLAN)))
    return Outcome(of, plan, attempts, status=200, duration_s=draw(st.floats(0.0, 100.0)), error_code=error_code)
