"""One frame of `headgate top`: pure, from a state and a look at it to lines that fit a screen.

The head stays, the table takes what is left of the screen, and what does not fit is cut. Styles are named here and
painted by whoever owns the terminal, so a pipe gets the same lines without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from proxy.cli.budgets import amount_shown, bar
from proxy.cli.requests import HEAD as CALL_HEAD
from proxy.cli.requests import cells as call_cells
from proxy.cli.table import Page, counted, dollars, seconds
from proxy.cli.top_keys import VIEWS, Look, Sort
from proxy.cli.top_state import Board, Recent, State
from proxy.state.report import RequestRow
from proxy.telemetry.live_report import Event, Second, Totals
from proxy.tenancy import split

Style = Literal["plain", "bold", "dim", "alarm", "chosen"]

BUDGETS_SHOWN: Final = 3
SPARK: Final = "▁▂▃▄▅▆▇█"
SPARK_S: Final = 60
RATE_S: Final = 10  # calls a second are those of the last so many
COST_S: Final = 60
MS: Final = 1000
FOOT: Final = "1-5 view   s sort   / filter   h hedged   space pause   q quit"
HEAD: Final = (  # what matters most stands left, where a narrow screen still shows it
    *("calls/min", "$/hour", "cost", "failed", "refused", "first p50", "p95"),
    *("calls", "cached", "input", "output", "last"),
)
FIRST: Final[Mapping[Board, tuple[str, ...]]] = {
    "agents": ("agent",),
    "routes": ("route",),
    "targets": ("target", "state", "hedges"),
    "runs": ("run", "tenant", "agent", "below"),
}


OF_CALLS: Final[Mapping[Sort, Callable[[RequestRow], float]]] = {
    "cost": lambda row: -(row.cost_usd_nanos or 0),
    "failed": lambda row: row.error_code is None,
    "first token": lambda row: -(row.first_event_s or 0.0),
}


class Line(NamedTuple):
    text: str
    style: Style = "plain"


class Size(NamedTuple):
    columns: int
    lines: int


def frame(state: State, look: Look, size: Size, page: Page) -> list[Line]:
    """At most `size.lines` lines of `size.columns` letters; `page` says which letters may be shown."""
    head = [*_head(state, look, page), Line(""), _tabs(look)]
    room = max(1, size.lines - len(head) - 1)
    table = [*_table(state, look, page)][:room]
    lines = [*head, Line(table[0], "bold"), *map(Line, table[1:]), *[Line("")] * (room - len(table)), Line(FOOT, "dim")]
    return [Line(page.clean(line.text)[: size.columns], line.style) for line in lines][-size.lines :]


# --- the head -------------------------------------------------------------------------------------------------------


def _head(state: State, look: Look, page: Page) -> Iterator[Line]:
    now, gauges, totals = state.now, state.now.gauges, state.now.totals
    up = seconds((now.at_ms - now.since_ms) / MS)
    paused = "   PAUSED" if look.paused else ""
    rate = f"{_a_second(now.series):.1f} calls/s, {gauges.in_flight} in flight, {gauges.queued} waiting"
    yield Line(f"Headgate   {_time(now.at_ms)} UTC, up {up}   {rate}{paused}", "bold")
    latest = now.series[-1] if now.series else None
    p50 = _first(latest.first_token_p50_s if latest else None)
    p95 = _first(latest.first_token_p95_s if latest else None)
    spent = f"{dollars(round(_an_hour(now.series)))}/hour, spent {dollars(totals.cost_usd_nanos)}"
    yield Line(f"first token p50 {p50}, p95 {p95}   {spent}, saved {dollars(gauges.saved_usd_nanos)}")
    counts = (
        f"{counted(totals.calls, 'call')}, {totals.failed} failed, {totals.refused} refused, {gauges.hedges} hedges"
    )
    spark = _spark([second.calls for second in now.series[-SPARK_S:]])
    yield Line(f"{counts}   {spark}" if page.clean(SPARK) == SPARK else counts)
    yield from _budgets(state, page)
    if gauges.out or gauges.trying:
        yield Line("   ".join(_standing(gauges.out, gauges.trying)), "alarm")
    if now.events:
        yield _event(now.events[0])


def _a_second(series: Sequence[Second]) -> float:
    recent = series[-RATE_S:]
    return sum(second.calls for second in recent) / len(recent) if recent else 0.0


def _an_hour(series: Sequence[Second]) -> float:
    """Nano-dollars."""
    recent = series[-COST_S:]
    return sum(second.cost_usd_nanos for second in recent) / len(recent) * 3_600 if recent else 0.0


def _spark(counts: Sequence[int]) -> str:
    most = max(counts, default=0)
    return "".join(SPARK[count * (len(SPARK) - 1) // most] for count in counts) if most else ""


def _budgets(state: State, page: Page) -> Iterator[Line]:
    for row in state.budgets[:BUDGETS_SHOWN]:
        drawn = bar(row.used)
        shown = f"{drawn} " if page.clean(drawn) == drawn else ""
        left = f"{amount_shown(row, row.left)} of {amount_shown(row, row.limit)} left"
        rung = f", on the rung {row.rung}" if row.rung else ""
        words = f"{row.account} {row.unit}/{row.window}   {shown}{row.used:.0%}   {left}{rung}"
        yield Line(words, "alarm" if row.used >= 1 else "plain")


def _standing(out: Sequence[str], trying: Sequence[str]) -> Iterator[str]:
    if out:
        yield f"out: {', '.join(out)}"
    if trying:
        yield f"on trial: {', '.join(trying)}"


def _event(event: Event) -> Line:
    words = ", ".join(f"{name} {value}" for name, value in event.fields.items() if value not in (None, ""))
    return Line(f"{_time(event.at_ms)} {event.name}: {words}", "plain" if event.level == "info" else "alarm")


def _tabs(look: Look) -> Line:
    views = "  ".join(
        f"[{number} {view}]" if view == look.view else f" {number} {view} " for number, view in enumerate(VIEWS, 1)
    )
    asked = f"   filter: {look.filter}{'_' if look.typing else ''}" if look.filter or look.typing else ""
    hedged = "   hedged only" if look.hedged else ""
    order = "latest first" if look.view == "requests" and look.sort not in OF_CALLS else f"by {look.sort}"
    return Line(f"{views}   {order}{asked}{hedged}", "chosen")


# --- the table ------------------------------------------------------------------------------------------------------


def _table(state: State, look: Look, page: Page) -> Iterator[str]:
    if look.view == "requests":
        calls = _calls(state.now.calls, look)
        yield from page.table(CALL_HEAD, [call_cells(row) for row in calls])
        return
    recent = state.recent(look.view)
    rows = [row for row in state.board(look.view) if _fits(row, look)]
    rows.sort(key=_order(look.sort, recent))
    head = (*FIRST[look.view], *HEAD)
    yield from page.table(
        head, [(*_names(state, look.view, row), *_cells(state, row, recent[row.name])) for row in rows]
    )


def _fits(row: Totals, look: Look) -> bool:
    """Second copies are counted by target alone."""
    named = look.filter.lower() in " ".join((row.name, row.agent or "", row.parent or "")).lower()
    return named and (row.hedges > 0 or not look.hedged or look.view != "targets")


def _calls(rows: Sequence[RequestRow], look: Look) -> list[RequestRow]:
    """The latest first, but for a sort that a call has a figure for."""
    found = [row for row in rows if look.filter.lower() in " ".join(call_cells(row)).lower()]
    found = [row for row in found if row.served_by == "hedge" or not look.hedged]
    return sorted(found, key=OF_CALLS[look.sort]) if look.sort in OF_CALLS else found


def _order(sort: Sort, recent: Mapping[str, Recent]) -> Callable[[Totals], tuple[float, str]]:
    figures: Mapping[Sort, Callable[[Totals], float]] = {
        "dollars an hour": lambda row: recent[row.name].usd_nanos_an_hour,
        "cost": lambda row: row.cost_usd_nanos,
        "calls": lambda row: row.calls,
        "failed": lambda row: row.failed + row.refused,
        "first token": lambda row: row.first_token_p95_s or 0.0,
        "last": lambda row: row.last_ms,
        "name": lambda row: 0.0,
    }
    figure = figures[sort]
    return lambda row: (-figure(row), row.name)


def _names(state: State, board: Board, row: Totals) -> tuple[str, ...]:
    if board == "targets":
        gauges = state.now.gauges
        standing = "out" if row.name in gauges.out else "on trial" if row.name in gauges.trying else "well"
        return (row.name, standing, str(row.hedges or "-"))
    if board == "runs":
        owner, name = split(row.name)
        return (name, owner, row.agent or "-", row.parent or "-")
    return (row.name,)


def _cells(state: State, row: Totals, recent: Recent) -> tuple[str, ...]:
    return (
        f"{recent.calls_a_minute:.1f}",
        dollars(round(recent.usd_nanos_an_hour)),
        dollars(row.cost_usd_nanos),
        str(row.failed or "-"),
        str(row.refused or "-"),
        _first(row.first_token_p50_s),
        _first(row.first_token_p95_s),
        str(row.calls),
        f"{row.cached_tokens / row.input_tokens:.0%}" if row.input_tokens else "-",
        _short(row.input_tokens),
        _short(row.output_tokens),
        _ago(max(0, state.now.at_ms - row.last_ms) // MS),
    )


def _ago(length_s: int) -> str:
    unit, letter = next(((unit, letter) for unit, letter in ((3_600, "h"), (60, "m")) if length_s >= unit), (1, "s"))
    return f"{length_s // unit}{letter} ago"


def _first(length_s: float | None) -> str:
    return "-" if length_s is None else seconds(length_s)


def _short(count: int) -> str:
    """Three digits that matter."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= 10 * size:
            return f"{count // size}{letter}"
        if count >= size:
            return f"{count / size:.1f}{letter}"
    return str(count)


def _time(at_ms: int) -> str:
    """Of the day, in UTC."""
    seconds_of_day = at_ms // MS % 86_400
    return f"{seconds_of_day // 3_600:02d}:{seconds_of_day // 60 % 60:02d}:{seconds_of_day % 60:02d}"
