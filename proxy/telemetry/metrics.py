"""The metrics of the gate: one feed from the one `Outcome` of a call, one exposition.

It derives and adds; what exists is declared in `catalog.py`, how it is kept and bounded stands in `series.py`. The
ledger is the truth about money; these numbers show pace. All of it runs on the event loop's thread, `observe` once
a call. How it is written down for a scrape stands in `scrape.py`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from operator import attrgetter

from proxy.errors import CODES, family
from proxy.telemetry.breaker_metrics import BreakerMetrics
from proxy.telemetry.budget_metrics import BudgetMetrics
from proxy.telemetry.cache_metrics import CacheMetrics
from proxy.telemetry.catalog import CAPPED, FAMILIES, TOKEN_KINDS
from proxy.telemetry.family import NANOS, OTHER
from proxy.telemetry.foresee import foreseen
from proxy.telemetry.labels import Labels
from proxy.telemetry.load_metrics import LoadMetrics
from proxy.telemetry.otel_view import View
from proxy.telemetry.queue_metrics import HeldMetrics, QueueMetrics
from proxy.telemetry.race_metrics import RaceMetrics
from proxy.telemetry.reading import BOUNDS, ENDPOINTS, aborted_by, attempt_result, status_label, token_seconds
from proxy.telemetry.scrape import Scrapes
from proxy.telemetry.series import Table
from proxy.telemetry.shared_metrics import SharedMetrics
from proxy.telemetry.usual import UsualCalls, usual_attempt
from proxy.tenancy import run_of
from proxy.types import Attempt, Call, Identity, Outcome, Target

RUNS_MAX = 20_000  # runs remembered as begun; one that returns after so many others counts again

_tokens = attrgetter(*TOKEN_KINDS)


class Metrics:
    """`targets` holds one entry with the model `*` for each provider whose models are passed through by name."""

    def __init__(
        self,
        routes: Sequence[str],
        targets: Sequence[Target],
        *,
        agents: Sequence[str] = (),
        agents_max: int = 50,
        models: Iterable[str] = (),
    ) -> None:
        self._labels = labels = Labels(agents_max)
        self.table = table = Table(FAMILIES, labels)
        self._runs: dict[str, None] = {}
        self.spent_usd_nanos = 0
        self._usual = UsualCalls(table)
        self.queues, self.held = QueueMetrics(table, labels), HeldMetrics(table, labels)
        self.breakers = BreakerMetrics(table, labels)
        self.races = RaceMetrics(table, labels)
        self.caches = CacheMetrics(table.numbers, labels)
        self._bind()
        self.scrapes = Scrapes(table, labels.targets)
        self.reconfigure(routes, targets, agents=agents, models=models)
        self.set("workers", 1)
        self.watch("metrics_series", lambda: table.size)
        self.watch("bound_hits_total", lambda: labels.agents_refused, "agents")
        for name in CAPPED:
            self.watch("metrics_overflow_total", table.folds(name), name)

    def __repr__(self) -> str:
        return f"Metrics({self.table!r}, {len(self._runs)} runs)"

    def exposition(self, accept: str, view: View = "headgate") -> tuple[bytes, str]:
        """The text and its content type, all in one go; see `scrape` for one in turns."""
        return self.scrapes.at_once(accept, view)

    def _bind(self) -> None:
        numbers, histograms = self.table.numbers, self.table.histograms
        self._calls_started = numbers["calls_started_total"]
        self._requests = numbers["requests_total"]
        self._errors = numbers["errors_total"]
        self._responses = numbers["http_responses_total"]
        self._in_flight = numbers["in_flight_requests"]
        self._aborts = numbers["stream_aborts_total"]
        self._client_retries = numbers["client_retries_total"]
        self._runs_started = numbers["runs_started_total"]
        self._attempts = numbers["upstream_attempts_total"]
        self._upstream_in_flight = numbers["upstream_in_flight"]
        self._tokens = numbers["tokens_total"]
        self._spend = numbers["spend_usd_total"]
        self._spend_estimated = numbers["spend_estimated_usd_total"]
        self._unknown_fields = numbers["usage_unknown_fields_total"]
        self._clamped = numbers["usage_clamped_total"]
        self._unpriced = numbers["unpriced_requests_total"]
        self._bounds = numbers["bound_hits_total"]
        self._duration = histograms["request_duration_seconds"]
        self._first_token = histograms["time_to_first_token_seconds"]
        self._gaps = histograms["inter_chunk_seconds"]
        self._token_time = histograms["time_per_output_token_seconds"]
        self._overhead = histograms["overhead_seconds"]
        self._upstream_duration = histograms["upstream_duration_seconds"]
        self._upstream_first_token = histograms["upstream_first_token_seconds"]
        self._cost = histograms["request_cost_usd"]
        self._loop_lag = histograms["event_loop_lag_seconds"]

    def of_load(self, now: Callable[[], float]) -> LoadMetrics:
        return LoadMetrics(self.table, self._labels, now)

    def of_shared(self) -> SharedMetrics:
        return SharedMetrics(self.table)

    def of_budgets(self) -> BudgetMetrics:
        return BudgetMetrics(self.table.numbers, self._labels)

    # --- the configuration ---------------------------------------------------------------------------------------

    def reconfigure(
        self,
        routes: Sequence[str],
        targets: Sequence[Target],
        *,
        agents: Sequence[str] = (),
        models: Iterable[str] = (),
    ) -> None:
        """Learns the names of a configuration that is about to come into force. Names that left it stay."""
        self._labels.learn(routes, targets, agents=agents, models=models)
        for declared in FAMILIES:
            series = self.table.series(declared)
            for values in foreseen(declared, self._labels):
                _ = series[values]  # born at its first look-up
        for target in self._labels.targets.values():
            self.set("target_info", 1, target.id, target.provider, target.model)

    def set_build(self, version: str, demo: str) -> None:
        python = platform.python_version()
        self._labels.learn_build(version, python)
        self.set("build_info", 1, version, python, demo)

    def reload_succeeded(self, wall: float) -> None:
        self.table.numbers["config_reloads_total"]["ok",].value += 1
        self.set("config_last_success_timestamp_seconds", wall)

    def reload_failed(self) -> None:
        self.table.numbers["config_reloads_total"]["error",].value += 1

    # --- gauges and counters that others own ---------------------------------------------------------------------

    def set(self, name: str, value: float, *values: str) -> None:
        self.table.numbers[name][values].value = value

    def watch(self, name: str, read: Callable[[], float], *values: str) -> None:
        """From now on each scrape asks `read`."""
        self.table.numbers[name][values].read = read

    def watch_drift(self, posted_usd_nanos: Callable[[], int]) -> None:
        """`posted_usd_nanos`: what the ledger has taken since this process began."""
        self.watch("ledger_drift_usd", lambda: (self.spent_usd_nanos - posted_usd_nanos()) / NANOS)

    def rate_limited(self, agent: str, limit: str) -> None:
        self.table.numbers["rate_limited_total"][self._labels.agent(agent), limit].value += 1

    def observer_failed(self, observer: str) -> None:
        self.table.numbers["observer_errors_total"][observer,].value += 1

    def loop_lag(self, seconds: float) -> None:
        self._loop_lag[()].observe(seconds)

    def loop_blocked(self) -> None:
        self.table.numbers["event_loop_blocked_total"][()].value += 1

    # --- the life of a call --------------------------------------------------------------------------------------

    def started(self, route: str) -> None:
        """Once for each call that `observe` will be told of, with the route that its `Call` carries."""
        self._calls_started[()].value += 1
        self._in_flight[self._labels.route(route),].value += 1

    def attempt_started(self, target: Target) -> None:
        self._upstream_in_flight[self._labels.target(target),].value += 1

    def attempt_ended(self, target: Target) -> None:
        self._upstream_in_flight[self._labels.target(target),].value -= 1

    def observe(self, outcome: Outcome) -> None:
        if outcome.decisions or len(outcome.attempts) > 1:
            self.races.observe(outcome)
        if outcome.looked_up or outcome.served_by in ("cache", "join"):
            self.caches.observe(outcome)
        attempt = usual_attempt(outcome)
        if attempt is None:
            self._observe_any(outcome)
            return
        call, labels = outcome.call, self._labels
        route, agent = labels.route(call.route), labels.agent(call.identity.agent)
        target = labels.target(attempt.target)
        recorders = self._usual.recorders(route, agent, target=target, endpoint=call.endpoint)
        recorders.observe(outcome, attempt, attempt.cost_usd_nanos or 0)
        self._count_run(call.identity, agent)
        self._bill(attempt, route, agent)

    def _observe_any(self, outcome: Outcome) -> None:
        call = outcome.call
        route, agent = self._labels.route(call.route), self._labels.agent(call.identity.agent)
        end = family(outcome.error_code, outcome.error_source, outcome.client_gone)
        self._in_flight[route,].value -= 1
        self._requests[route, agent, end].value += 1
        self._responses[ENDPOINTS.get(call.endpoint, call.endpoint), status_label(outcome.status)].value += 1
        if end != "ok":
            self._failed(outcome)
        if call.client_retry:
            self._client_retries[route,].value += 1
        self._count_run(call.identity, agent)
        self._time(outcome, route, "ok" if end == "ok" else "error")
        if outcome.attempts:
            self._try(outcome, route, agent)

    def _failed(self, outcome: Outcome) -> None:
        code = outcome.error_code
        if code is not None:
            source = CODES[code].source if code in CODES else outcome.error_source or OTHER
            self._errors[source, code if code in CODES else OTHER].value += 1
            if code in BOUNDS:
                self._bounds[BOUNDS[code],].value += 1
        by = aborted_by(outcome)
        if by is not None:
            self._aborts[by,].value += 1

    def _count_run(self, identity: Identity, agent: str) -> None:
        """A call without a run is a run of its own; a known run is moved to the young end."""
        id, runs = run_of(identity), self._runs
        if id is None:
            self._runs_started[agent, "none"].value += 1
            return
        if id in runs:
            del runs[id]
        else:
            self._runs_started[agent, identity.run_source].value += 1
            if len(runs) >= RUNS_MAX:
                del runs[next(iter(runs))]
                self._bounds["runs",].value += 1
        runs[id] = None

    def _time(self, outcome: Outcome, route: str, result: str) -> None:
        call, duration = outcome.call, outcome.duration_s
        self._overhead[route,].observe(max(0.0, duration - outcome.upstream_s))
        self._duration[route, "yes" if call.head.stream else "no", result].observe(duration)
        if not call.head.stream:
            return
        if outcome.first_event_s is not None:
            wall = call.arrived_wall + outcome.first_event_s
            self._first_token[route, outcome.served_by].observe_traced(outcome.first_event_s, call.trace_id, wall)
        if outcome.gaps is not None:
            self._gaps[route,].add(outcome.gaps)
        between = token_seconds(outcome)
        if between is not None:
            self._token_time[route,].observe(between)

    def _try(self, outcome: Outcome, route: str, agent: str) -> None:
        call, cost, priced = outcome.call, 0, True
        for attempt in outcome.attempts:
            target = self._labels.target(attempt.target)
            self._attempted(attempt, target, call)
            self._bill(attempt, route, agent)
            if attempt.cost_usd_nanos is None:
                priced = False
            else:
                cost += attempt.cost_usd_nanos
        if priced:
            wall = call.arrived_wall + outcome.duration_s
            self._cost[route,].observe_traced(cost, call.trace_id, wall)

    def _attempted(self, attempt: Attempt, target: str, call: Call) -> None:
        result = attempt_result(attempt)
        self._attempts[target, attempt.role, result].value += 1
        if result != "cancelled":
            self._upstream_duration[target, "ok" if result == "ok" else "error"].observe(attempt.duration_s)
        if attempt.first_event_s is not None and call.head.stream:
            self._upstream_first_token[target,].observe(attempt.first_event_s)

    def _bill(self, attempt: Attempt, route: str, agent: str) -> None:
        usage, cost = attempt.usage, attempt.cost_usd_nanos
        provider, model = attempt.target.provider, self._labels.model(attempt.target)
        if cost:
            self._spend[agent, route, provider, model].value += cost
            self.spent_usd_nanos += cost
        if usage is None:
            return
        counts = _tokens(usage)
        for kind, count in compress(zip(TOKEN_KINDS, counts, strict=True), counts):  # those that occurred
            self._tokens[agent, provider, model, kind].value += count
        if cost is None:
            self._unpriced[provider,].value += 1
        elif usage.source != "reported" and attempt.gpu_s is None:  # time is measured, whoever counts the tokens
            self._spend_estimated[provider, usage.source].value += cost
        for flag in usage.flags:
            if flag == "clamped":
                self._clamped[provider,].value += 1
            elif flag.startswith("unknown"):
                self._unknown_fields[provider,].value += 1
