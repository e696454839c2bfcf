"""The end of the demo in words: direct against through the gate, who spent it, whether the ledger is right, what next.

A line is printed for what was measured, whichever column it favours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from proxy.cli.table import Page, Row, dollars
from proxy.demo.figures import Figures
from proxy.demo.result import Column, Result
from proxy.demo.story import PhaseName
from proxy.headers import usd

TREES_SHOWN = 5
PHASE_HEAD = ("chapter", "", "runs", "failed", "calls", "failed", "p50", "p99", "asked", "dollars")
PHASE_KEY = "runs: completed; p50, p99: time to the first token; asked: upstream calls a call"
PHASES: Mapping[PhaseName, str] = {
    "normal": "all is well",
    "slow": "west is slow",
    "down": "east is down",
    "healed": "an agent runs away",
}
CHANGE = """\
The one line to change in what you have (start the gate first: `headgate up`):
  OpenAI SDK   OpenAI(base_url="http://127.0.0.1:8080/v1")
  LangGraph    ChatOpenAI(model="MODEL", base_url="http://127.0.0.1:8080/v1")
  AutoGen      OpenAIChatCompletionClient(model="MODEL", base_url="http://127.0.0.1:8080/v1", model_info=...)
  LiteLLM      litellm.completion(model="openai/MODEL", api_base="http://127.0.0.1:8080/v1", messages=...)
With http://127.0.0.1:8080/agents/NAME/v1 the costs are that agent's.

  headgate up"""


def report(result: Result, page: Page) -> Iterator[str]:
    yield _title(result)
    yield ""
    yield from page.table(PHASE_HEAD, [*_phases(result)])
    yield PHASE_KEY
    yield ""
    yield from page.table(("overall", "direct", "through the gate"), _comparison(result))
    yield from _remarks(result)
    yield ""
    yield "SIMULATED spend by agent, from the gate's ledger:"
    agents = [
        (row.agent, str(row.runs), str(row.calls), str(row.errors), dollars(row.usd_nanos)) for row in result.agents
    ]
    yield from page.table(("agent", "runs", "calls", "errors", "spent"), agents)
    yield ""
    yield "SIMULATED spend of the dearest runs with their sub-agents, from the gate's ledger:"
    trees = [(tree.run, str(tree.runs), str(tree.calls), dollars(tree.usd_nanos)) for tree in result.trees]
    yield from page.table(("run", "runs", "calls", "spent"), trees[:TREES_SHOWN])
    yield ""
    yield from _check(result)
    yield ""
    yield from CHANGE.split("\n")


def _title(result: Result) -> str:
    early = ", ended early" if result.interrupted else ""
    return (
        f"SIMULATED, no keys used: the same agents, the same three made-up providers (a copy for each column), "
        f"seed {result.seed}, {result.took_s:.0f} s{early}"
    )


def _phases(result: Result) -> Iterator[Row]:
    for direct, gate in zip(result.direct.phases, result.gate.phases, strict=True):
        yield (PHASES[direct.phase], "direct", *_figures(direct))
        yield ("", "gate", *_figures(gate))


def _figures(figures: Figures) -> Row:
    return (
        str(figures.runs_completed),
        str(figures.runs_failed),
        str(figures.calls),
        str(figures.calls_failed),
        _seconds(figures.first_token_p50_s),
        _seconds(figures.first_token_p99_s),
        _ratio(figures.upstream_calls, figures.calls + figures.runaway_calls),
        dollars(figures.usd_nanos),
    )


def _comparison(result: Result) -> list[tuple[str, str, str]]:
    names = (
        *("runs completed", "runs failed", "calls", "calls failed", "first token p50", "first token p99"),
        "success while one was down",
        *("upstream calls a call", "late calls sent a second time", "second copies that were faster"),
        *("dollars: first attempts", "dollars: retries", "dollars: second copies of late calls"),
        *(
            "dollars: cut or abandoned",
            "dollars: the runaway agent",
            "dollars: total",
            "dollars: runs completed by both",
        ),
        *("answers known already", "input read from caches", "refusals met (500)", "silences met"),
    )
    hedges = result.hedges
    hedged = (f"{hedges.sent / max(1, result.gate.calls):.1%}", str(hedges.won))
    known = result.known.hits + result.known.joined
    cells = _cells(result.direct, ("-", "-"), "-"), _cells(result.gate, hedged, str(known))
    return list(zip(names, *cells, strict=True))


def _cells(column: Column, hedged: tuple[str, str], known: str) -> tuple[str, ...]:
    spent = column.usd_nanos
    cached = "-" if column.input_cached_share is None else f"{column.input_cached_share:.0%}"
    return (
        f"{column.runs_completed} of {column.runs}",
        str(column.runs_failed),
        str(column.calls),
        str(column.calls_failed),
        _seconds(column.first_token_p50_s),
        _seconds(column.first_token_p99_s),
        "-" if column.outage_success_share is None else f"{column.outage_success_share:.1%}",
        _ratio(column.upstream_calls, column.calls + column.runaway.calls),
        *hedged,
        *map(dollars, (spent.first_attempts, spent.retries, spent.hedges, spent.cut_or_abandoned, spent.runaway)),
        *map(dollars, (spent.total, column.usd_nanos_same_runs)),
        known,
        cached,
        str(column.refusals),
        str(column.silences),
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _ratio(part: int, whole: int) -> str:
    return f"{part / whole:.2f}" if whole else "-"


def _remarks(result: Result) -> Iterator[str]:
    """What a reader would otherwise wonder about."""
    direct, gate = result.direct, result.gate
    yield _runaway(result)
    if result.known.saved_usd_nanos:
        yield f"Known answers have saved {dollars(result.known.saved_usd_nanos)}: support is asked the same few things."
    if direct.runs_failed > gate.runs_failed:
        yield "A run that fails early costs less: compare the dollars of the runs that both completed."
    if gate.usd_nanos_same_runs > direct.usd_nanos_same_runs > 0:
        more = gate.usd_nanos_same_runs / direct.usd_nanos_same_runs - 1
        yield f"Those cost {more:.0%} more through the gate: second copies, and prompts cached at another provider."
    if (gate.input_cached_share or 0) < (direct.input_cached_share or 0):
        yield "The gate spreads a run's calls over all targets; what one provider has cached is new to the others."


def _runaway(result: Result) -> str:
    direct, gate = result.direct.runaway, result.gate.runaway
    budget, over = dollars(result.budget_usd_nanos), dollars(result.overspend_usd_nanos)
    if gate.refused is None:
        return f"The runaway agent was not refused: it spent {dollars(gate.usd_nanos)} of its {budget}."
    return (
        f"The runaway agent had {budget}: at {gate.refused_at_s:.1f} s the gate refused it, {over} too late; "
        f"direct it spent {dollars(direct.usd_nanos)}, with the calls that still ran when somebody stopped it."
    )


def _check(result: Result) -> Iterator[str]:
    """An answer that the ledger has and no invoice, or the other way round, shows in the second line."""
    check, reported = result.check, result.check.reported
    sign = "=" if reported.difference_usd_nanos == 0 else "is not"
    yield (
        f"SIMULATED check: ledger ${usd(reported.ledger_usd_nanos)} {sign} the providers' true bill "
        f"${usd(reported.bill_usd_nanos)} (difference {reported.difference_usd_nanos} nano-dollars)"
    )
    if check.estimated_attempts or check.estimated_invoices:
        rest = check.estimated
        yield (
            f"Not in it, since it was closed before a provider reported usage: ${usd(rest.ledger_usd_nanos)} by the "
            f"ledger's estimate ({check.estimated_attempts} attempts), ${usd(rest.bill_usd_nanos)} by the bill "
            f"({check.estimated_invoices} answers)"
        )
