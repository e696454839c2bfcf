"""Outcomes for the telemetry tests, and what a scrape made of them."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace
from prometheus_client import Metric
from prometheus_client.openmetrics import parser
from prometheus_client.samples import Sample

from proxy.observed import Gaps
from proxy.telemetry.family import PREFIX
from proxy.telemetry.metrics import Metrics
from proxy.types import Attempt, Call, Head, Identity, Outcome, Price, Target, Usage

PRICE = Price(
    id="price",
    input_uncached=1,
    output=1,
    input_cached=1,
    input_cache_write_5m=1,
    input_cache_write_1h=1,
    input_audio=1,
    input_image=1,
    reasoning=1,
    output_audio=1,
)
FAST = Target(id="p1/fast", provider="p1", model="fast", price=PRICE)
DEEP = Target(id="p2/deep", provider="p2", model="deep", price=PRICE)
WILD = Target(id="p3/*", provider="p3", model="*", price=None)
TARGETS = (FAST, DEEP, WILD)
IDENTITY = Identity(key_id="key-1", agent="planner", agent_source="header", run="run-1", run_source="header")
CALL = Call(
    id="c" * 32,
    endpoint="chat",
    dialect="openai",
    route="smart",
    head=Head(model="smart", stream=True),
    raw=b'{"model":"smart"}',
    identity=IDENTITY,
    arrived_at=1000.0,
    arrived_wall=1_790_000_000.25,
    deadline=1600.0,
    input_tokens_estimate=4,
    trace_id="ab" * 16,
)
PLAIN_CALL = replace(CALL, head=Head(model="smart"))
ATTEMPT = Attempt(
    number=1,
    role="first",
    target=FAST,
    started_at=1000.0,
    duration_s=2.0,
    lesson="success",
    usage=Usage(input_uncached=900, input_cached=100, output=81, reasoning=10),
    cost_usd_nanos=12_345,
    first_event_s=0.3,
    status=200,
)
OUTCOME = Outcome(
    call=CALL,
    plan=None,
    attempts=(ATTEMPT,),
    status=200,
    duration_s=2.0025,
    served_by="primary",
    upstream_s=2.0,
    first_event_s=0.3125,
    last_event_s=2.0,
    gaps=Gaps(counts=(3, 0, 2, *(0,) * 13), sum_s=0.07),
    bytes_out=4321,
)
REFUSED = replace(
    OUTCOME,
    attempts=(),
    status=429,
    served_by="none",
    error_code="budget_exceeded",
    error_source="policy",
    upstream_s=0.0,
    first_event_s=None,
    last_event_s=None,
    gaps=None,
)

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.3"
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


def metrics(*outcomes: Outcome) -> Metrics:
    made = Metrics(["smart"], TARGETS, agents=["planner", "writer"])
    for outcome in outcomes:
        made.started(outcome.call.route)
        made.observe(outcome)
    return made


def scrape(made: Metrics, *families: str) -> Found:
    """All of them, or those whose names begin so: the strict parser takes its time."""
    text = made.exposition(OPENMETRICS)[0].decode()
    if families:
        wanted = tuple(PREFIX + name for name in families)
        blocks = [f"# HELP {block}" for block in text.split("# HELP ") if block.startswith(wanted)]
        text = "".join((*(block.removesuffix("# EOF\n") for block in blocks), "# EOF\n"))
    return {
        (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value for sample in parsed(text)
    }


def parsed(text: str) -> list[Sample]:
    """By the client's strict parser: it refuses buckets that fall and a count that is not their last."""
    families: Iterable[Metric] = parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return [sample for family in families for sample in family.samples]


def value(found: Found, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def moved(found: Found, *names: str) -> dict[tuple[str, ...], float]:
    """The children of counters that are not 0, by their sorted labels."""
    return {
        (name, *(text for _, text in sorted(labels))): count
        for (name, labels), count in found.items()
        if count and name in names
    }
