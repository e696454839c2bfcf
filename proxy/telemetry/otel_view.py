"""The same totals under the names of OpenTelemetry's conventions for generative AI: `/metrics?view=otel`.

It renames and adds up; nothing is counted twice for it. The gate is a client of its targets and a server to its
agents, so both halves of the conventions are given. They are still in development, which is why this view is opt-in.
There, cached input is part of the input and reasoning part of the output. Buckets are the gate's own; tokens are not
kept as a distribution, so that histogram has its sum and its count alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from msgspec import Struct

from proxy.telemetry.exposition import HISTOGRAMS_A_TURN
from proxy.telemetry.family import OTHER
from proxy.telemetry.series import Histogram, Table, Values
from proxy.telemetry.text import Buckets, Format, HistogramText
from proxy.types import Target

OPERATION = "inference"  # the totals do not tell chats from embeddings
GATE = "headgate"  # the provider, to agents
FAILED = "_OTHER"  # the conventions' word for an error of no stated kind

View = Literal["headgate", "otel"]
Names = tuple[str, str, str]  # provider, model, error or ""
Naming = Callable[[Values], Names]


class Renamed(Struct, frozen=True):
    name: str
    help: str
    family: str  # of ours
    naming: Naming


class OtelView:
    def __init__(self, table: Table, targets: Mapping[str, Target]) -> None:
        """`targets`: by id, as they are known; they may become more."""
        self._table = table
        self._targets = targets

    def __repr__(self) -> str:
        return f"OtelView({self._table!r})"

    def turns(self, pieces: list[bytes], format: Format) -> Iterator[None]:
        """Each step adds to `pieces` as much as one turn of the loop may take."""
        for renamed in self._renamings():
            yield from self._written(renamed, pieces, format)
        yield
        self._tokens(pieces, format)
        pieces.append(format.end)

    def _renamings(self) -> tuple[Renamed, ...]:
        client, server = "gen_ai_client_operation_", "gen_ai_server_"
        route, target = _at_only_route, self._at_target
        late, later = "Streams: from sending to first content.", "Streams: from receipt to the first content sent on."
        return (
            Renamed(client + "duration_seconds", "Attempts at an upstream.", "upstream_duration_seconds", target),
            Renamed(client + "time_to_first_chunk_seconds", late, "upstream_first_token_seconds", target),
            Renamed(server + "request_duration_seconds", "Calls.", "request_duration_seconds", _at_route),
            Renamed(server + "time_to_first_token_seconds", later, "time_to_first_token_seconds", route),
            Renamed(
                server + "time_per_output_token_seconds",
                "Mean gap between a stream's tokens.",
                "time_per_output_token_seconds",
                route,
            ),
        )

    def _written(self, renamed: Renamed, pieces: list[bytes], format: Format) -> Iterator[None]:
        """A histogram of ours, those children added up that have the same names there."""
        series = self._table.histograms[renamed.family]
        merged: dict[Names, Histogram] = {}
        for values, child in series.children():
            into = merged.setdefault(renamed.naming(values), Histogram(series.shape))
            into.counts = [one + more for one, more in zip(into.counts, child.counts, strict=True)]
            into.sum += child.sum
        buckets = Buckets(renamed.name, series.shape.edge_texts, series.shape.per_unit)
        pieces.append(format.heading(renamed.name, "histogram", renamed.help))
        for number, (names, child) in enumerate(merged.items()):
            if number % HISTOGRAMS_A_TURN == 0:
                yield
            pieces.append(HistogramText(buckets, _pairs(names)).write(child.read()))

    def _tokens(self, pieces: list[bytes], format: Format) -> None:
        """Input and output of whatever was billed; the count is that of the attempts that were answered."""
        sums, counts = self._token_sums(), self._answered()
        buckets = Buckets("gen_ai_client_token_usage", ("+Inf",))
        pieces.append(format.heading(buckets.name, "histogram", "Tokens, cached ones and reasoning included."))
        for (provider, model, kind), tokens in sums.items():
            pairs = [*_pairs((provider, model, "")), ("gen_ai_token_type", kind)]
            count = counts.get((provider, model), 0)
            pieces.append(HistogramText(buckets, pairs).write(([count], tokens, [None])))

    def _token_sums(self) -> dict[Names, float]:
        sums: dict[Names, float] = {}
        for (_, provider, model, kind), child in self._table.numbers["tokens_total"].children():
            names = (provider, model, "input" if kind.startswith("input") else "output")
            sums[names] = sums.get(names, 0) + child.now
        return sums

    def _answered(self) -> dict[tuple[str, str], int]:
        counts: dict[tuple[str, str], int] = {}
        for (target, _, result), child in self._table.numbers["upstream_attempts_total"].children():
            if result == "ok":
                provider, model, _ = self._at_target((target, "ok"))
                counts[provider, model] = counts.get((provider, model), 0) + int(child.now)
        return counts

    def _at_target(self, values: Values) -> Names:
        target = self._targets.get(values[0])
        failed = FAILED if values[-1] == "error" else ""
        return (OTHER, OTHER, failed) if target is None else (target.provider, target.model, failed)


def _at_route(values: Values) -> Names:
    return GATE, values[0], FAILED if values[-1] == "error" else ""


def _at_only_route(values: Values) -> Names:
    return GATE, values[0], ""


def _pairs(names: Names) -> list[tuple[str, str]]:
    provider, model, error = names
    pairs = [
        ("gen_ai_operation_name", OPERATION),
        ("gen_ai_provider_name", provider),
        ("gen_ai_request_model", model),
    ]
    return [*pairs, ("error_type", error)] if error else pairs
