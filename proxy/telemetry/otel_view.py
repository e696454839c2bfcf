"""The same totals under the names of OpenTelemetry's conventions for generative AI: `/metrics?view=otel`.

It renames and adds up; nothing is counted twice for it. The gate is a client of its targets and a server to its
agents, so both halves of the conventions are given. They are still in development, which is why this view is opt-in.
There, cached input is part of the input and reasoning part of the output. Buckets are the gate's own; tokens are not
kept as a distribution, so that histogram has its sum and its count alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from msgspec import structs
from prometheus_client import Metric
from prometheus_client.samples import Sample

from proxy.telemetry.family import OTHER
from proxy.telemetry.series import Histogram, Table, Values, shape_of
from proxy.types import Target

OPERATION = "inference"  # the totals do not tell chats from embeddings
GATE = "headgate"  # the provider, to agents
FAILED = "_OTHER"  # the conventions' word for an error of no stated kind

View = Literal["headgate", "otel"]
Names = tuple[str, str, str]  # provider, model, error or ""
Naming = Callable[[Values], Names]


class OtelView:
    def __init__(self, table: Table, targets: Mapping[str, Target]) -> None:
        """`targets`: by id, as they are known; they may become more."""
        self._table = table
        self._targets = targets

    def __repr__(self) -> str:
        return f"OtelView({self._table!r})"

    def collect(self) -> Iterator[Metric]:
        client, server = "gen_ai_client_operation_", "gen_ai_server_"
        yield self._renamed(
            client + "duration_seconds", "Attempts at an upstream.", "upstream_duration_seconds", self._at_target
        )
        yield self._renamed(
            client + "time_to_first_chunk_seconds",
            "Streams: from sending to first content.",
            "upstream_first_token_seconds",
            self._at_target,
        )
        yield self._tokens()
        yield self._renamed(server + "request_duration_seconds", "Calls.", "request_duration_seconds", _at_route)
        yield self._renamed(
            server + "time_to_first_token_seconds",
            "Streams: from receipt to the first content sent on.",
            "time_to_first_token_seconds",
            _at_only_route,
        )
        yield self._renamed(
            server + "time_per_output_token_seconds",
            "Mean gap between a stream's tokens.",
            "time_per_output_token_seconds",
            _at_only_route,
        )

    def _renamed(self, name: str, help: str, family: str, naming: Naming) -> Metric:
        """A histogram of ours, those children added up that have the same names there."""
        series = self._table.histograms[family]
        shape = structs.replace(shape_of(series.family), name=name, bucket_name=f"{name}_bucket")
        merged: dict[Names, Histogram] = {}
        for values, child in series.children():
            into = merged.setdefault(naming(values), Histogram(shape))
            into.counts = [one + more for one, more in zip(into.counts, child.counts, strict=True)]
            into.sum += child.sum
        metric = Metric(name, help, "histogram")
        for names, child in merged.items():
            metric.samples.extend(child.samples(shape, _labels(names)))
        return metric

    def _tokens(self) -> Metric:
        """Input and output of whatever was billed; the count is that of the attempts that were answered."""
        sums, counts = self._token_sums(), self._answered()
        name = "gen_ai_client_token_usage"
        metric = Metric(name, "Tokens, cached ones and reasoning included.", "histogram")
        for (provider, model, kind), tokens in sums.items():
            labels = {**_labels((provider, model, "")), "gen_ai_token_type": kind}
            count = counts.get((provider, model), 0)
            metric.samples += [
                Sample(f"{name}_bucket", {**labels, "le": "+Inf"}, count),
                Sample(f"{name}_count", labels, count),
                Sample(f"{name}_sum", labels, tokens),
            ]
        return metric

    def _token_sums(self) -> dict[Names, float]:
        sums: dict[Names, float] = {}
        for (_, provider, model, kind), child in self._table.numbers["tokens_total"].children():
            names = (provider, model, "input" if kind.startswith("input") else "output")
            sums[names] = sums.get(names, 0) + child.now
        return sums

    def _answered(self) -> dict[tuple[str, str], float]:
        counts: dict[tuple[str, str], float] = {}
        for (target, _, result), child in self._table.numbers["upstream_attempts_total"].children():
            if result == "ok":
                provider, model, _ = self._at_target((target, "ok"))
                counts[provider, model] = counts.get((provider, model), 0) + child.now
        return counts

    def _at_target(self, values: Values) -> Names:
        target = self._targets.get(values[0])
        failed = FAILED if values[-1] == "error" else ""
        return (OTHER, OTHER, failed) if target is None else (target.provider, target.model, failed)


def _at_route(values: Values) -> Names:
    return GATE, values[0], FAILED if values[-1] == "error" else ""


def _at_only_route(values: Values) -> Names:
    return GATE, values[0], ""


def _labels(names: Names) -> dict[str, str]:
    provider, model, error = names
    labels = {
        "gen_ai_operation_name": OPERATION,
        "gen_ai_provider_name": provider,
        "gen_ai_request_model": model,
    }
    return {**labels, "error_type": error} if error else labels
