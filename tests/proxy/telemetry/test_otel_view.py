"""The second view has the same totals under the conventions' names."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from proxy.telemetry.metrics import Metrics
from proxy.telemetry.text import OPENMETRICS
from proxy.types import Target

TARGETS = (Target(id="up/m", provider="up", model="m", price=None),)
UP = {"gen_ai_operation_name": "inference", "gen_ai_provider_name": "up", "gen_ai_request_model": "m"}
GATE = {"gen_ai_operation_name": "inference", "gen_ai_provider_name": "headgate", "gen_ai_request_model": "r"}


def metrics() -> Metrics:
    made = Metrics(["r"], TARGETS, agents=["a", "b"])
    histograms, numbers = made.table.histograms, made.table.numbers
    histograms["upstream_duration_seconds"]["up/m", "ok"].observe(0.2)
    histograms["upstream_duration_seconds"]["up/m", "error"].observe(3.0)
    histograms["time_to_first_token_seconds"]["r", "primary"].observe(0.02)
    histograms["time_to_first_token_seconds"]["r", "hedge"].observe(5.0)
    numbers["upstream_attempts_total"]["up/m", "first", "ok"].value += 3
    numbers["upstream_attempts_total"]["up/m", "first", "timeout"].value += 1
    for agent, kind, tokens in (("a", "input_uncached", 5), ("b", "input_cached", 7), ("a", "reasoning", 11)):
        numbers["tokens_total"][agent, "up", "m", kind].value += tokens
    return made


def seen(made: Metrics) -> dict[str, Metric]:
    """As the strict parser reads it."""
    text, content_type = made.exposition(OPENMETRICS, "otel")
    assert content_type.startswith(OPENMETRICS)
    return {family.name: family for family in text_string_to_metric_families(text.decode())}  # type: ignore[no-untyped-call]


def value(family: Metric, suffix: str, labels: dict[str, str]) -> float:
    (found,) = [
        sample
        for sample in family.samples
        if isinstance(sample, Sample) and sample.name == family.name + suffix and sample.labels == labels
    ]
    return found.value


def test_attempts_are_told_by_provider_and_model() -> None:
    durations = seen(metrics())["gen_ai_client_operation_duration_seconds"]
    assert value(durations, "_count", UP) == 1
    assert value(durations, "_sum", UP) == 0.2
    assert value(durations, "_count", {**UP, "error_type": "_OTHER"}) == 1
    assert value(durations, "_bucket", {**UP, "le": "0.1"}) == 0
    assert value(durations, "_bucket", {**UP, "le": "0.25"}) == 1


def test_children_that_have_one_name_there_are_added_up() -> None:
    first = seen(metrics())["gen_ai_server_time_to_first_token_seconds"]
    assert value(first, "_count", GATE) == 2
    assert value(first, "_sum", GATE) == 5.02


def test_cached_input_is_input_and_reasoning_is_output() -> None:
    tokens = seen(metrics())["gen_ai_client_token_usage"]
    assert value(tokens, "_sum", {**UP, "gen_ai_token_type": "input"}) == 12
    assert value(tokens, "_sum", {**UP, "gen_ai_token_type": "output"}) == 11
    assert value(tokens, "_count", {**UP, "gen_ai_token_type": "output"}) == 3


def test_it_has_no_name_of_the_other_view() -> None:
    made = metrics()
    assert not any(name.startswith("headgate_") for name in seen(made))
    assert b"gen_ai" not in made.exposition("")[0]
