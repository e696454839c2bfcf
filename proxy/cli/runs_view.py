"""How `headgate runs` prints what it was told: a list, a tree, what has become of a command."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.cli.table import Page, counted, dollars, seconds
from proxy.state.report import asked
from proxy.state.run_report import Governed, LimitRow, RunRow, Runs, RunTree, ToppedUp
from proxy.tenancy import shown

CALLS_HEAD = ("*", "at", "model", "target", "end", "took", "input", "output", "cost", "request")
LIST_HEAD = (
    *("run", "tenant", "agents", "state", "in flight", "started", "wall"),
    *("calls", "errors", "loops", "tokens", "cost"),
)


def listed(answer: Runs, page: Page) -> Iterator[str]:
    rows = [
        (
            row.run,
            row.tenant,
            ",".join(row.agents),
            row.state,
            str(row.in_flight or ""),
            row.summary.first_at or "-",
            seconds(row.summary.wall_s),
            str(row.summary.calls),
            str(row.summary.errors or ""),
            str(row.loops or ""),
            str(row.summary.input_tokens + row.summary.output_tokens),
            dollars(row.summary.cost_usd_nanos),
        )
        for row in answer.rows
    ]
    if not rows:
        yield "no runs yet: a call belongs to one when its base URL says so, .../agents/NAME/runs/RUN/v1"
        return
    yield from page.table(LIST_HEAD, rows)


def tree(answer: RunTree, page: Page) -> Iterator[str]:
    path, step = answer.critical_path, answer.longest_step
    yield from _branch(answer, page, "", frozenset(path.request_ids))
    yield ""
    yield f"cost           {dollars(answer.total_usd_nanos)}"
    yield f"wall time      {seconds(answer.wall_s)}"
    share = "" if path.share is None else f", {path.share:.0%} of the wall time"
    yield f"critical path  {seconds(path.seconds)} in {_calls(path.calls)}, one after the other{share}"
    if step is not None:
        yield f"longest step   {seconds(step.duration_s)}, {step.model}, request {step.request_id}"
    if answer.truncated:
        yield "the tree is larger than what is shown; sums are of all of it"


def _branch(answer: RunTree, page: Page, indent: str, critical: frozenset[str]) -> Iterator[str]:
    run = answer.run
    agents, calls, cost = ", ".join(run.agents), _calls(run.summary.calls), dollars(answer.total_usd_nanos)
    yield f"{indent}run {run.run} ({agents}): {_state(run)}, {calls}, {cost}"
    for limit in answer.budget:
        yield f"{indent}  {_limit(limit)}"
    rows = [
        (
            "*" if call.request_id in critical else "",
            call.at,
            f"{call.model} (gate)" if call.by == "gate" else call.model,
            asked(call),
            call.error_code or str(call.status),
            seconds(call.duration_s),
            str(call.input_tokens),
            str(call.output_tokens),
            dollars(call.cost_usd_nanos),
            call.request_id,
        )
        for call in answer.calls
    ]
    for line in page.table(CALLS_HEAD, rows) if rows else ():
        yield f"{indent}  {line}"
    for child in answer.children:
        yield from _branch(child, page, indent + "    ", critical)


def _state(run: RunRow) -> str:
    above = f" by {run.stopped_by}" if run.stopped_by else ""
    flying = f", {run.in_flight} in flight" if run.in_flight else ""
    looped = f", {_calls(run.loops)} in a loop" if run.loops else ""
    return f"{run.state}{above}{flying}{looped}"


def _limit(limit: LimitRow) -> str:
    parts = [_amount(limit.unit, amount) for amount in (limit.spent, limit.limit, limit.held, limit.left)]
    carrier = f" ({shown(limit.carrier)})"
    return f"{limit.unit} per {limit.window}{carrier}: {parts[0]} of {parts[1]} spent, {parts[2]} held, {parts[3]} left"


def _amount(unit: str, amount: int) -> str:
    return dollars(amount) if unit == "usd" else str(amount)


def governed(answer: Governed, page: Page) -> Iterator[str]:
    again = " (it was already)" if answer.repeated else ""
    above = f" by {answer.stopped_by}" if answer.stopped_by else ""
    yield f"run {answer.run} is {answer.state}{above}{again}"
    if answer.interrupted:
        yield f"{_in_flight(answer.interrupted)} cut: {dollars(answer.cost_usd_nanos)}"
    if answer.draining:
        yield f"{answer.draining} of them are not billed yet: their provider goes on, and is read to the end"
    if answer.running:
        yield f"{_in_flight(answer.running)} left to end"


def topped_up(answer: ToppedUp, page: Page) -> Iterator[str]:
    amount = _amount(answer.unit, answer.amount)
    yield f"{shown(answer.account)}: {amount} {'was added already' if answer.repeated else 'more'}"
    for limit in answer.limits:
        left, most = _amount(answer.unit, limit.left), _amount(answer.unit, limit.limit)
        yield f"{answer.unit} per {limit.window}: {left} of {most} left"


def _calls(count: int) -> str:
    return counted(count, "call")


def _in_flight(count: int) -> str:
    return f"{_calls(count)} in flight {'was' if count == 1 else 'were'}"
