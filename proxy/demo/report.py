"""The end of the demo in words: direct against through the gate, who spent it, whether the ledger is right, what next.

A line is printed for what was measured, whichever column it favours.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy.cli.table import Page, dollars
from proxy.demo.result import Column, Result
from proxy.headers import usd

TREES_SHOWN = 5
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
    yield from page.table(("", "direct", "through the gate"), _comparison(result))
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


def _comparison(result: Result) -> list[tuple[str, str, str]]:
    names = (
        *("runs completed", "runs failed", "calls", "calls failed", "first token p50", "first token p99"),
        *(
            "dollars: first attempts",
            "dollars: retries",
            "dollars: cut or abandoned",
            "dollars: total",
            "dollars: runs completed by both",
        ),
        *("input read from caches", "refusals met (429, 503)", "stalls met"),
    )
    return list(zip(names, _cells(result.direct), _cells(result.gate), strict=True))


def _cells(column: Column) -> tuple[str, ...]:
    spent = column.usd_nanos
    cached = "-" if column.input_cached_share is None else f"{column.input_cached_share:.0%}"
    return (
        f"{column.runs_completed} of {column.runs}",
        str(column.runs_failed),
        str(column.calls),
        str(column.calls_failed),
        _seconds(column.first_token_p50_s),
        _seconds(column.first_token_p99_s),
        *map(dollars, (spent.first_attempts, spent.retries, spent.cut_or_abandoned, spent.total)),
        dollars(column.usd_nanos_same_runs),
        cached,
        str(column.refusals),
        str(column.stalls),
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _remarks(result: Result) -> Iterator[str]:
    """What a reader would otherwise wonder about."""
    direct, gate = result.direct, result.gate
    if direct.runs_failed > gate.runs_failed:
        yield "A run that fails early costs less: compare the dollars of the runs that both completed."
    if (gate.input_cached_share or 0) < (direct.input_cached_share or 0):
        yield "The gate spreads a run's calls over all targets; what one provider has cached is new to the others."


def _check(result: Result) -> Iterator[str]:
    check = result.check
    sign = "=" if result.exact else "is not"
    yield (
        f"SIMULATED check: ledger ${usd(check.ledger_usd_nanos)} {sign} the providers' true bill "
        f"${usd(check.bill_usd_nanos)} (difference {check.difference_usd_nanos} nano-dollars)"
    )
    if check.estimated_attempts:
        yield f"{check.estimated_attempts} attempts ended before a provider reported usage: those are estimated"
